import { useEffect, useState } from 'preact/hooks';
import { useLocation } from 'preact-iso/router';
import { get, type Request } from '../api/client.ts';
import { DeviceChange } from '../api/constraints.ts';
import { Failure } from '../api/failure.ts';
import { BROKERS, DEVICES, devicePath, EVENTS, KEYS, STATS } from '../api/paths.ts';
import type { GetDevicesUuidReply } from '../api/types.ts';
import { type Action, useAction } from '../data/action.ts';
import { targetOptions, useBrokers } from '../data/brokers.ts';
import { ConfirmDialog } from './dialog.tsx';
import { CheckField, changesOf, SelectField, TextField, useForm } from './form.tsx';
import { Code, Name } from './name.tsx';

export const DEVICE_DIALOGS = ['broker', 'edit', 'activate', 'deactivate', 'rotate', 'delete'] as const;
export type DeviceDoing = (typeof DEVICE_DIALOGS)[number];
type Props = { reply: GetDevicesUuidReply; etag: string | undefined; onClose: () => void };

const CHANGES = [DEVICES, BROKERS, KEYS, STATS, EVENTS];

/** What an operator can do to one device. Each change is sent with the tag of what the page shows. */
export function DeviceDialog({ doing, ...props }: Props & { doing: DeviceDoing }) {
  switch (doing) {
    case 'broker':
      return <BrokerDialog {...props} />;
    case 'edit':
      return <EditDialog {...props} />;
    case 'activate':
    case 'deactivate':
      return <ActiveDialog {...props} isActive={doing === 'activate'} />;
    case 'rotate':
      return <RotateDialog {...props} />;
    case 'delete':
      return <DeleteDialog {...props} />;
  }
}

/** A PUT of the device. After 412 the page shows what it is now, and the next attempt is about that. */
function useChange(
  { reply, onClose }: Props,
  message: string,
  isMade: (now: GetDevicesUuidReply) => boolean,
): Action<unknown> {
  const path = devicePath(reply.device.uuid);
  const action = useAction<unknown>({
    changes: CHANGES,
    message,
    done: onClose,
    check: async () => {
      const now = await get<GetDevicesUuidReply>(path);
      return now && isMade(now.data);
    },
  });
  return action;
}

function put({ reply, etag }: Props, body: object): Request {
  return { method: 'PUT', path: devicePath(reply.device.uuid), body, ifMatch: etag };
}

/** Of the select: no assignment. */
const DEFAULT = 'default';

function BrokerDialog(props: Props) {
  const { device, resolved_broker } = props.reply;
  const brokers = useBrokers();
  const form = useForm(DeviceChange, () => ({
    mqtt_broker_id: device.mqtt_broker_id === null ? DEFAULT : String(device.mqtt_broker_id),
    reason: '',
    close_former: false,
  }));
  const chosen = form.values.mqtt_broker_id === DEFAULT ? null : Number(form.values.mqtt_broker_id);
  const action = useChange(props, 'Broker chosen', (now) => now.device.mqtt_broker_id === chosen);
  const { reason, close_former } = form.values;
  const body = {
    mqtt_broker_id: chosen,
    ...(close_former ? { close_former } : {}),
    ...(reason ? { reason } : {}),
  };
  const current = brokers.find(({ id }) => id === device.mqtt_broker_id);
  const targets = targetOptions(brokers);
  const options: [string, string][] = [
    [DEFAULT, 'the default broker, whichever that is'],
    ...(current && !targets.some(([id]) => id === String(current.id))
      ? [[String(current.id), `${current.name} (takes no devices)`] as [string, string]]
      : []),
    ...targets,
  ];
  return (
    <ConfirmDialog
      title="Choose its broker"
      verb="Move the device"
      request={put(props, body)}
      action={action}
      onClose={props.onClose}
      isWaiting={chosen === device.mqtt_broker_id && !close_former}
    >
      <p>
        It is at <Name text={resolved_broker?.name ?? resolved_broker?.url} fallback="no broker" /> now. It moves when
        it next asks, and may log in at its former broker until then.
      </p>
      <SelectField
        form={form}
        name="mqtt_broker_id"
        label="Broker"
        options={options}
        hint="Brokers that are inactive or draining take no devices."
      />
      <TextField form={form} name="reason" label="Reason" />
      <CheckField
        form={form}
        name="close_former"
        label="Refuse it at its former broker immediately"
        hint="It is offline until it asks for its broker, even if it knows no other one."
      />
    </ConfirmDialog>
  );
}

function EditDialog(props: Props) {
  const { device } = props.reply;
  const [initial] = useState(() => ({
    device_name: device.device_name ?? '',
    device_type: device.device_type ?? '',
    fleet_id: device.fleet_id ?? '',
  }));
  const form = useForm(DeviceChange, () => initial, initial);
  const changes = changesOf(form, initial);
  const stored = (now: GetDevicesUuidReply) => now.device as Record<string, unknown>;
  const action = useChange(props, 'Device changed', (now) =>
    Object.entries(changes).every(([name, value]) => stored(now)[name] === value),
  );
  useEffect(() => form.fail(action.failure), [action.failure]);
  return (
    <ConfirmDialog
      title="Edit the device"
      verb="Save"
      request={put(props, changes)}
      action={action}
      onClose={props.onClose}
      isWaiting={Object.keys(changes).length === 0}
      onSubmit={form.check}
    >
      <p>When the device registers again with another name or type, that wins.</p>
      <TextField form={form} name="device_name" label="Name" />
      <TextField form={form} name="device_type" label="Type" />
      <TextField form={form} name="fleet_id" label="Fleet" />
    </ConfirmDialog>
  );
}

function ActiveDialog(props: Props & { isActive: boolean }) {
  const { isActive } = props;
  const form = useForm(DeviceChange, () => ({ reason: '' }));
  const action = useChange(
    props,
    isActive ? 'Device activated' : 'Device deactivated',
    (now) => now.device.is_active === isActive,
  );
  const body = { is_active: isActive, ...(form.values.reason ? { reason: form.values.reason } : {}) };
  return (
    <ConfirmDialog
      title={isActive ? 'Activate the device?' : 'Deactivate the device?'}
      verb={isActive ? 'Activate' : 'Deactivate'}
      request={put(props, body)}
      action={action}
      onClose={props.onClose}
      onSubmit={form.check}
    >
      <p>
        {isActive
          ? 'Its MQTT user works again, and it may ask for its broker.'
          : 'Its MQTT user stops working immediately, and Berth refuses it everywhere. Nothing is deleted; you can activate it again.'}
      </p>
      <TextField form={form} name="reason" label="Reason" />
    </ConfirmDialog>
  );
}

function RotateDialog(props: Props) {
  const { uuid } = props.reply.device;
  // Rotating twice is harmless: the device gets the last password either way.
  const action = useAction<unknown>({ changes: CHANGES, message: 'Its MQTT password has ended', done: props.onClose });
  const request: Request = { method: 'POST', path: `${devicePath(uuid)}/rotate-credentials` };
  return (
    <ConfirmDialog
      title="Rotate its MQTT password?"
      verb="Rotate"
      request={request}
      action={action}
      onClose={props.onClose}
    >
      <p>
        The password ends immediately. The device gets the next one when it asks for its broker or registers again; its
        agent does so after a refused login.
      </p>
    </ConfirmDialog>
  );
}

function DeleteDialog(props: Props) {
  const { route } = useLocation();
  const { uuid, device_name } = props.reply.device;
  const path = devicePath(uuid);
  const action = useAction<unknown>({
    changes: CHANGES,
    removes: path,
    message: 'Device deleted',
    done: () => route('/devices', true),
    check: () => isGone(path),
  });
  return (
    <ConfirmDialog
      title="Delete the device?"
      verb="Delete"
      kind="danger"
      request={{ method: 'DELETE', path }}
      action={action}
      onClose={props.onClose}
    >
      <p>
        <Name text={device_name} fallback={uuid} /> (<Code text={uuid} />)
      </p>
      <p>
        Its MQTT user stops working immediately, and its place on the provisioning key is free. A deletion cannot be
        undone, but the device may register again. Its history is kept.
      </p>
    </ConfirmDialog>
  );
}

async function isGone(path: string): Promise<boolean> {
  try {
    await get(path);
    return false;
  } catch (error) {
    if (error instanceof Failure && error.status === 404) return true;
    throw error;
  }
}
