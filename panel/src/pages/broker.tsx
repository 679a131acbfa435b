import { useState } from 'preact/hooks';
import { useLocation, useRoute } from 'preact-iso/router';
import { get, type Request } from '../api/client.ts';
import { Failure } from '../api/failure.ts';
import { BROKERS, brokerPath, DEVICES, EVENTS, KEYS, STATS, SUMMARY } from '../api/paths.ts';
import type {
  Broker as BrokerRow,
  GetMqttBrokersIdReply,
  GetMqttBrokersSummaryReply,
  SummarisedBroker,
} from '../api/types.ts';
import { targetOptions, urlOf, useBrokers } from '../data/brokers.ts';
import { useQuery } from '../data/query.ts';
import { canWrite } from '../session.ts';
import { Badge } from '../ui/badge.tsx';
import { BrokerState } from '../ui/broker-parts.tsx';
import { Button, ForWriters, LinkButton } from '../ui/button.tsx';
import { ConnectionTest } from '../ui/connection-test.tsx';
import { useDialog } from '../ui/dialog-state.ts';
import { type Fact, Facts } from '../ui/facts.tsx';
import { ForceDialog } from '../ui/force-dialog.tsx';
import { Loaded } from '../ui/loaded.tsx';
import { Code, Name } from '../ui/name.tsx';
import { Count, counted } from '../ui/number.tsx';
import { Page, Section } from '../ui/page.tsx';
import { Table } from '../ui/table.tsx';
import { Age, Time } from '../ui/time.tsx';
import { withQuery } from '../url-state.ts';

/** What every change of a broker makes stale. */
const CHANGES = [BROKERS, DEVICES, KEYS, STATS, EVENTS];

const DIALOGS = ['default', 'drain', 'accept', 'activate', 'deactivate', 'delete'] as const;
type Doing = (typeof DIALOGS)[number];

export default function Broker() {
  const { id = '' } = useRoute().params;
  const path = brokerPath(id);
  const known = useQuery<GetMqttBrokersIdReply>(path);
  const broker = known.data?.data;
  const { open, start, close } = useDialog(DIALOGS);
  return (
    <Page
      title={broker?.name ?? `Broker ${id}`}
      above={[['Brokers', '/brokers']]}
      actions={
        broker && (
          <>
            <LinkButton href={`/history?broker_id=${id}&kind=operator`}>History</LinkButton>
            <Actions broker={broker} start={start} />
          </>
        )
      }
    >
      <Loaded known={known} path={path}>
        {({ data }) => (
          <>
            <BrokerState broker={data} />
            {data.description && (
              <p class="wrap" dir="auto">
                {data.description}
              </p>
            )}
            <Counts broker={data} />
            <div class="columns">
              <Section title="Connection test">
                <ConnectionTest key={id} id={data.id} usesTls={['mqtts', 'wss'].includes(data.protocol)} />
              </Section>
              <Section title="Settings">
                <Settings broker={data} />
              </Section>
            </div>
            <Certificates broker={data} />
            {open && canWrite.value && <ActionDialog doing={open} broker={data} etag={known.etag} onClose={close} />}
          </>
        )}
      </Loaded>
    </Page>
  );
}

function Actions({ broker, start }: { broker: BrokerRow; start: (doing: Doing) => void }) {
  const { id, is_active, is_default, accepts_new_devices } = broker;
  return (
    <ForWriters>
      <LinkButton href={`/brokers/${id}/edit`} kind="primary">
        Edit
      </LinkButton>
      {!is_default && is_active && <Button onClick={() => start('default')}>Make default</Button>}
      {is_active && accepts_new_devices && <Button onClick={() => start('drain')}>Drain</Button>}
      {!accepts_new_devices && <Button onClick={() => start('accept')}>Accept devices again</Button>}
      {is_active ? (
        <Button onClick={() => start('deactivate')}>Deactivate</Button>
      ) : (
        <Button onClick={() => start('activate')}>Activate</Button>
      )}
      <Button kind="danger" onClick={() => start('delete')}>
        Delete
      </Button>
    </ForWriters>
  );
}

/** The counts of all brokers, as the API last made them. */
function useCounts(): { all: SummarisedBroker[] | undefined; at: number | undefined } {
  const { data, at } = useQuery<GetMqttBrokersSummaryReply>(SUMMARY);
  return { all: data?.data, at };
}

function Counts({ broker: { id, is_default } }: { broker: BrokerRow }) {
  const { all, at } = useCounts();
  const counts = all?.find((one) => one.id === id);
  return (
    <Section title="Devices" actions={<Age at={at} verb="Fetched" />}>
      <Facts
        rows={[
          ['Assigned to it', <a href={`/devices?broker_id=${id}`}>{<Count value={counts?.assigned_count} />}</a>],
          ['Of these active', <Count value={counts?.active_assigned_count} />],
          ...(is_default
            ? [
                [
                  'Here because it is the default',
                  <a href="/devices?broker_id=none">{<Count value={counts?.following_default_count} />}</a>,
                ] as Fact,
              ]
            : []),
          [
            'Behind: still on former settings',
            <a key="behind" href={withQuery('/devices', { behind: true, broker_id: is_default ? undefined : id })}>
              <Count value={counts?.behind_count} />
            </a>,
          ],
        ]}
      />
    </Section>
  );
}

function Settings({ broker }: { broker: BrokerRow }) {
  const yes = (value: boolean | null) => (value ? 'yes' : 'no');
  return (
    <Facts
      rows={[
        ['Address', <Code text={urlOf(broker)} />],
        ['Verifies certificate', yes(broker.verify_certificate)],
        ['Client id prefix', <Code text={broker.client_id_prefix} />],
        ['Keep-alive', `${broker.keep_alive} s`],
        ['Clean session', yes(broker.clean_session)],
        ['Reconnect period', `${broker.reconnect_period} ms`],
        ['Connect timeout', `${broker.connect_timeout} ms`],
        ['Test’s user', <Name text={broker.username} />],
        ['Test’s password', broker.has_password ? 'stored' : 'none'],
        ['Region', <Name text={broker.region} />],
        ['Weight', String(broker.allocation_weight)],
        ['Type', <Name text={broker.broker_type} />],
        ['Last successful test', <Time at={broker.last_connected_at} />],
        ['Created', <Time at={broker.created_at} />],
        ['Changed', <Time at={broker.updated_at} />],
        ['Id', <Code text={broker.id} />],
      ]}
    />
  );
}

type Certificate = { use: string; subject: string; issuer: string; expires_at: string };
const DAY_MS = 86_400_000;

function Certificates({ broker: { ca_cert_info, client_cert_info } }: { broker: BrokerRow }) {
  const rows: Certificate[] = [
    ...(ca_cert_info ?? []).map((one) => ({ use: 'CA of the broker', ...one })),
    ...(client_cert_info ?? []).map((one) => ({ use: 'client of the test', ...one })),
  ];
  if (rows.length === 0) return null;
  return (
    <Section title="Certificates">
      <Table
        caption="Certificates of this broker"
        rows={rows}
        keyOf={({ use, subject, expires_at }) => `${use} ${subject} ${expires_at}`}
        columns={[
          { title: 'Subject', cell: ({ subject }) => <Name text={subject} /> },
          { title: 'Use', cell: ({ use }) => use },
          { title: 'Issuer', kind: 'minor', cell: ({ issuer }) => <Name text={issuer} /> },
          { title: 'Expires', cell: ({ expires_at }) => <Expiry at={expires_at} /> },
        ]}
      />
    </Section>
  );
}

function Expiry({ at }: { at: string }) {
  const days = (Date.parse(at) - Date.now()) / DAY_MS;
  const tone = days < 7 ? 'bad' : days < 30 ? 'warn' : 'neutral';
  return (
    <Badge tone={tone}>
      <Time at={at} />
    </Badge>
  );
}

type DialogProps = { doing: Doing; broker: BrokerRow; etag: string | undefined; onClose: () => void };

function ActionDialog({ doing, ...props }: DialogProps) {
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

function ChangeDialog({ doing, broker, etag, onClose }: DialogProps & { doing: Exclude<Doing, 'delete'> }) {
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
              connection.
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

function DeleteDialog({ broker, onClose }: Omit<DialogProps, 'doing'>) {
  const { route } = useLocation();
  const { all } = useCounts();
  const brokers = useBrokers();
  const [target, setTarget] = useState('');
  const counts = all?.find(({ id }) => id === broker.id);
  const assigned = counts?.assigned_count ?? 0;
  const options = targetOptions(brokers).filter(([id]) => id !== String(broker.id));
  const request: Request = { method: 'DELETE', path: withQuery(brokerPath(broker.id), { reassign_to: target }) };
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
      changes={CHANGES}
      {...{ request, check, onClose }}
      onDone={() => route('/brokers', true)}
    >
      <ul>
        <li>{counted(assigned, 'device')} assigned to it</li>
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
