import { useState } from 'preact/hooks';
import { useLocation } from 'preact-iso/router';
import { get, type Request } from '../api/client.ts';
import { Failure } from '../api/failure.ts';
import { BROKERS, brokerPath, DEVICES, EVENTS, KEYS, STATS } from '../api/paths.ts';
import type { Broker as BrokerRow, GetMqttBrokersIdReply } from '../api/types.ts';
import { targetOptions, useAssigned, useBrokers, useCounts } from '../data/brokers.ts';
import { withQuery } from '../url-state.ts';
import { ForceDialog } from './force-dialog.tsx';
import { Name } from './name.tsx';
import { counted } from './number.tsx';
import { Age } from './time.tsx';

/** What every change of a broker makes stale. */
const CHANGES = [BROKERS, DEVICES, KEYS, STATS, EVENTS];

export const BROKER_DIALOGS = ['default', 'drain', 'accept', 'activate', 'deactivate', 'delete'] as const;
export type BrokerDoing = (typeof BROKER_DIALOGS)[number];

type DialogProps = { doing: BrokerDoing; broker: BrokerRow; etag: string | undefined; onClose: () => void };

/** What an operator can do to one broker, each with its consequences. */
export function BrokerDialog({ doing, ...props }: DialogProps) {
  if (doing === 'delete') return <DeleteDialog {...props} />;
  return <ChangeDialog {...{ doing }} {...props} />;
}

const BODIES = {
  default: { is_default: true },
  drain: { accepts_new_devices: false },
  accept: { accepts_new_devices: true },
  activate: { is_active: true },
  deactivate: { is_active: false },
};

function ChangeDialog({ doing, broker, etag, onClose }: DialogProps & { doing: Exclude<BrokerDoing, 'delete'> }) {
  const { all } = useCounts();
  const own = all?.find(({ id }) => id === broker.id);
  const former = all?.find(({ is_default }) => is_default);
  const here = (own?.assigned_count ?? 0) + (own?.following_default_count ?? 0);
  const body = BODIES[doing];
  const request: Request = { method: 'PUT', path: brokerPath(broker.id), body, ifMatch: etag };
  const check = async () => {
    const reply = await get<GetMqttBrokersIdReply>(brokerPath(broker.id));
    const stored = reply?.data.data as unknown as Record<string, unknown>;
    return Object.entries(body).every(([name, value]) => stored[name] === value);
  };
  const common = { request, check, onClose, changes: CHANGES };
  switch (doing) {
    case 'default':
      return (
        <ForceDialog
          {...common}
          title={`Make ${broker.name} the default?`}
          verb="Make default"
          message="It is the default now"
          devices={former?.following_default_count}
        >
          {former ? (
            <p>
              <Name text={former.name} /> is the default now. {counted(former.following_default_count, 'device')}{' '}
              without an assignment would follow to this broker when they next ask. Until then they keep their
              connection. <Age at={former.counted_at ?? undefined} verb="Counted" />
            </p>
          ) : (
            <p>There is no default now. Devices without an assignment would get this broker.</p>
          )}
        </ForceDialog>
      );
    case 'drain':
      return (
        <ForceDialog {...common} title={`Drain ${broker.name}?`} verb="Drain" message="It is draining">
          <p>
            It keeps its {counted(here, 'device')} and takes no new ones. Nobody is disconnected, and you can undo it at
            any time.
          </p>
          {broker.is_default && <p>It is the default: new devices cannot register until another broker is.</p>}
        </ForceDialog>
      );
    case 'accept':
      return (
        <ForceDialog
          {...common}
          title={`Let ${broker.name} take devices again?`}
          verb="Accept devices"
          message="It takes devices again"
        >
          <p>New devices may be assigned to it again.</p>
        </ForceDialog>
      );
    case 'activate':
      return (
        <ForceDialog {...common} title={`Activate ${broker.name}?`} verb="Activate" message="It is active">
          <p>{counted(here, 'device')} assigned to it would use it again.</p>
        </ForceDialog>
      );
    case 'deactivate':
      return (
        <ForceDialog
          {...common}
          kind="danger"
          title={`Deactivate ${broker.name}?`}
          verb="Deactivate"
          message="It is inactive"
        >
          <p>
            An inactive broker serves nobody. {counted(here, 'device')} would have to go to another one; Berth refuses
            this while they need it.
          </p>
        </ForceDialog>
      );
  }
}

/** At most this many devices are moved by the deletion itself. */
const MAX_MOVED = 10_000;

function DeleteDialog({ broker, etag, onClose }: Omit<DialogProps, 'doing'>) {
  const { route } = useLocation();
  const { all } = useCounts();
  const brokers = useBrokers();
  const [target, setTarget] = useState('');
  const counts = all?.find(({ id }) => id === broker.id);
  const exact = useAssigned(broker.id);
  const assigned = exact.devices ?? counts?.assigned_count ?? 0;
  const options = targetOptions(brokers).filter(([id]) => id !== String(broker.id));
  const path = withQuery(brokerPath(broker.id), { reassign_to: target });
  const request: Request = { method: 'DELETE', path, ifMatch: etag };
  const check = async () => {
    try {
      await get(brokerPath(broker.id));
      return false;
    } catch (error) {
      return error instanceof Failure && error.status === 404;
    }
  };
  return (
    <ForceDialog
      kind="danger"
      title={`Delete ${broker.name}?`}
      verb="Delete"
      message="Broker deleted"
      devices={target === '' ? undefined : assigned}
      isWaiting={exact.isCounting}
      changes={CHANGES}
      removes={brokerPath(broker.id)}
      {...{ request, check, onClose }}
      onDone={() => route('/brokers', true)}
    >
      <ul>
        <li>
          {exact.isCounting ? 'Counting the devices' : counted(assigned, 'device')} assigned to it
          {!exact.isCounting && exact.devices === undefined && (
            <Age at={counts?.counted_at ?? undefined} verb=", counted" />
          )}
        </li>
        {broker.is_default && (
          <li>{counted(counts?.following_default_count ?? 0, 'device')} here because it is the default</li>
        )}
        <li>{counted(counts?.behind_count ?? 0, 'device')} behind, which have not followed a change yet</li>
        <li>Provisioning keys that name it name no broker afterwards</li>
      </ul>
      {assigned > MAX_MOVED ? (
        <p>
          That is more than a deletion moves. <a href={`/jobs/new?broker_id=${broker.id}`}>Move them with a job</a>{' '}
          first.
        </p>
      ) : (
        assigned > 0 && (
          <div class="field">
            <label for="reassign">Move its devices to</label>
            <select id="reassign" value={target} onChange={(event) => setTarget(event.currentTarget.value)}>
              <option value="">nowhere: refuse while it has devices</option>
              <option value="default">the default broker, by losing their assignment</option>
              {options.map(([id, name]) => (
                <option key={id} value={id}>
                  {name}
                </option>
              ))}
            </select>
          </div>
        )
      )}
      <p>A deletion cannot be undone. To keep the broker for later, deactivate it.</p>
    </ForceDialog>
  );
}
