import { useEffect, useState } from 'preact/hooks';
import { useLocation, useRoute } from 'preact-iso/router';
import { get, type Request } from '../api/client.ts';
import { BrokerChange } from '../api/constraints.ts';
import { BROKERS, brokerPath, DEVICES, EVENTS, STATS } from '../api/paths.ts';
import type { Broker, GetMqttBrokersIdReply, PostMqttBrokersReply } from '../api/types.ts';
import { useAction } from '../data/action.ts';
import { useCounts } from '../data/brokers.ts';
import { type Known, useQuery } from '../data/query.ts';
import { canWrite } from '../session.ts';
import { BROKER_SECRETS, BrokerFields, brokerBody, HANDED_FIELDS, newBroker } from '../ui/broker-form.tsx';
import { Button, LinkButton } from '../ui/button.tsx';
import { Curl } from '../ui/curl.tsx';
import { ConfirmDialog } from '../ui/dialog.tsx';
import { type Change, Diff } from '../ui/diff.tsx';
import { changesOf, useForm, type Values } from '../ui/form.tsx';
import { FormBox } from '../ui/form-box.tsx';
import { Loaded } from '../ui/loaded.tsx';
import { changedMeanwhile, MergeDialog, MergedNote } from '../ui/merge-dialog.tsx';
import { counted } from '../ui/number.tsx';
import { Page } from '../ui/page.tsx';
import { ActionProblem } from '../ui/problem.tsx';
import { ReadOnly } from '../ui/read-only.tsx';

export default function BrokerEdit() {
  const { id = '' } = useRoute().params;
  const path = brokerPath(id);
  const known = useQuery<GetMqttBrokersIdReply>(path);
  if (!canWrite.value) return <ReadOnly title="Edit broker" />;
  const name = known.data?.data.name ?? `Broker ${id}`;
  return (
    <Page
      title={`Edit ${name}`}
      above={[
        ['Brokers', '/brokers'],
        [name, `/brokers/${id}`],
      ]}
    >
      <Loaded known={known} path={path}>
        {({ data }) => <EditForm key={id} broker={data} known={known} />}
      </Loaded>
    </Page>
  );
}

/** The stored values as a form has them. */
function valuesOf(broker: Broker): Values {
  const stored = broker as unknown as Record<string, unknown>;
  const values = Object.entries(newBroker()).map(([name, initial]): [string, string | boolean] => {
    const value = stored[name];
    if (typeof initial === 'boolean') return [name, value === true];
    if (typeof value === 'object' && value !== null)
      return [name, Object.keys(value).length ? JSON.stringify(value) : ''];
    return [name, value === null || value === undefined ? '' : String(value)];
  });
  return { ...Object.fromEntries(values), remove_password: false, remove_client_key: false };
}

function EditForm({ broker, known }: { broker: Broker; known: Known<GetMqttBrokersIdReply> }) {
  const { route } = useLocation();
  // What the operator saw when the form was opened: a later fetch must not change it under the typing.
  const [base, setBase] = useState(() => ({ row: broker, values: valuesOf(broker), etag: known.etag }));
  const [isMerged, setIsMerged] = useState(false);
  const [toConfirm, setToConfirm] = useState<Request>();
  const form = useForm(BrokerChange, () => base.values, base.values);
  const devices = useDevicesOf(broker.id);
  const changes = changesOf(form, base.values);
  const action = useAction<PostMqttBrokersReply>({
    changes: [BROKERS, DEVICES, STATS, EVENTS],
    message: ({ devices_affected }) =>
      devices_affected ? `Broker changed; ${counted(devices_affected, 'device')} affected` : 'Broker changed',
    done: () => route(`/brokers/${broker.id}`, true),
    check: async () => {
      const reply = await get<GetMqttBrokersIdReply>(brokerPath(broker.id));
      const isMade = reply && has(reply.data.data, changes);
      // What was saved is no change any more.
      if (isMade) setBase({ row: reply.data.data, values: valuesOf(reply.data.data), etag: reply.etag });
      return isMade;
    },
  });
  useEffect(() => {
    if (action.failure?.kind === 'problem' && action.failure.errors.length > 0) {
      setToConfirm(undefined);
      form.fail(action.failure);
    }
  }, [action.failure]);
  const other = changedMeanwhile<Broker>(action.failure);
  useEffect(() => {
    if (other) setToConfirm(undefined);
  }, [action.failure]);
  const merge = (row: Broker, etag: string, values: Values) => {
    setBase({ row, values: valuesOf(row), etag });
    form.setAll(values);
    setIsMerged(true);
    action.reset();
  };
  const { body, complaint } = brokerBody(changes);
  const request: Request = { method: 'PUT', path: brokerPath(broker.id), body, ifMatch: base.etag };
  const changesDevices = Object.keys(changes).some((name) => HANDED_FIELDS.includes(name));
  const hasChanges = Object.keys(changes).length > 0;
  const submit = () => {
    if (!form.check()) return;
    if (complaint) return form.complain('extra_config', complaint);
    action.reset();
    if (changesDevices && devices > 0) setToConfirm(request);
    else action.run(request);
  };
  return (
    <FormBox class="form" onSubmit={submit}>
      <BrokerFields form={form} stored={broker} />
      {isMerged && <MergedNote />}
      {!toConfirm && <ActionProblem action={action} shownFields={Object.keys(form.values)} />}
      {action.outcome === 'made' && (
        <p>
          <a href={`/brokers/${broker.id}`}>Back to the broker</a>
        </p>
      )}
      <div class="form-end">
        <Button type="submit" kind="primary" isBusy={action.isBusy} disabled={!hasChanges}>
          Save
        </Button>
        <LinkButton href={`/brokers/${broker.id}`}>Cancel</LinkButton>
        {!hasChanges && <span class="muted">Nothing is changed yet.</span>}
      </div>
      {hasChanges && <Curl request={request} secrets={BROKER_SECRETS} />}
      {other && (
        <MergeDialog
          what={{ filter: 'broker_id', id: broker.id, noun: 'broker' }}
          before={base.row}
          now={other.row}
          base={base.values}
          theirs={valuesOf(other.row)}
          mine={form.values}
          onMerge={(values) => merge(other.row, other.etag, values)}
          onClose={action.reset}
        />
      )}
      {toConfirm && !other && (
        <ConfirmDialog
          title={`Hand other settings to ${counted(devices, 'device')}?`}
          verb="Save"
          request={toConfirm}
          secrets={BROKER_SECRETS}
          action={action}
          devices={devices}
          onClose={() => setToConfirm(undefined)}
        >
          <p>
            Devices of this broker get the new settings when they next ask. Until then they use the old ones, and count
            as behind.
          </p>
          <Diff changes={diffOf(base.values, form.values, Object.keys(changes))} />
        </ConfirmDialog>
      )}
    </FormBox>
  );
}

/** How many devices are at a broker, as they were last counted. */
function useDevicesOf(id: number): number {
  const counts = useCounts().all?.find((broker) => broker.id === id);
  return counts ? counts.assigned_count + counts.following_default_count : 0;
}

const SECRETS = Object.keys(BROKER_SECRETS);

function diffOf(before: Values, after: Values, fields: string[]): Change[] {
  return fields.map((field) =>
    SECRETS.includes(field)
      ? { field, before: '(not shown)', after: '(not shown)' }
      : { field, before: before[field], after: after[field] },
  );
}

/** Whether a broker has these values; undefined: only secrets were sent, which cannot be compared. */
function has(broker: Broker, changes: Record<string, unknown>): boolean | undefined {
  const stored = broker as unknown as Record<string, unknown>;
  const comparable = Object.entries(changes).filter(([name]) => name in stored && name !== 'extra_config');
  return comparable.length === 0 ? undefined : comparable.every(([name, value]) => stored[name] === value);
}
