import { useLocation, useRoute } from 'preact-iso/router';
import { DEVICES, devicePath } from '../api/paths.ts';
import type { DeviceEvent, GetDevicesUuidEventsReply, GetDevicesUuidReply } from '../api/types.ts';
import { useBrokers } from '../data/brokers.ts';
import { type Known, useListQuery, useQuery } from '../data/query.ts';
import { canWrite } from '../session.ts';
import { Badge, type Tone } from '../ui/badge.tsx';
import { BrokerLink } from '../ui/broker-parts.tsx';
import { Button, ForWriters } from '../ui/button.tsx';
import { Curl } from '../ui/curl.tsx';
import { DEVICE_DIALOGS, DeviceDialog, type DeviceDoing } from '../ui/device-dialogs.tsx';
import { useDialog } from '../ui/dialog-state.ts';
import { Empty } from '../ui/empty.tsx';
import { type Fact, Facts } from '../ui/facts.tsx';
import { Loaded } from '../ui/loaded.tsx';
import { Code, Name } from '../ui/name.tsx';
import { Page, Section } from '../ui/page.tsx';
import { ResolutionPath } from '../ui/resolution-path.tsx';
import { type Column, Pager, Table } from '../ui/table.tsx';
import { Age, Time } from '../ui/time.tsx';
import { apiPath } from '../url-state.ts';

const PAGE = 50;

export default function Device() {
  const { uuid = '' } = useRoute().params;
  const path = devicePath(uuid);
  const known = useQuery<GetDevicesUuidReply>(path);
  const device = known.data?.device;
  const isGone = known.failure?.status === 404;
  const { open, start, close } = useDialog(DEVICE_DIALOGS);
  return (
    <Page
      title={device?.device_name || uuid}
      above={[['Devices', '/devices']]}
      actions={device && !isGone && <Actions isActive={device.is_active !== false} start={start} />}
    >
      {isGone ? <Gone uuid={uuid} /> : <Content known={known} path={path} />}
      {known.data && !isGone && open && canWrite.value && (
        <DeviceDialog doing={open} reply={known.data} etag={known.etag} onClose={close} />
      )}
      <History uuid={uuid} />
      <Curl request={{ method: 'GET', path }} />
    </Page>
  );
}

function Actions({ isActive, start }: { isActive: boolean; start: (doing: DeviceDoing) => void }) {
  return (
    <ForWriters>
      <Button kind="primary" onClick={() => start('broker')}>
        Choose its broker
      </Button>
      <Button onClick={() => start('edit')}>Edit</Button>
      <Button onClick={() => start(isActive ? 'deactivate' : 'activate')}>
        {isActive ? 'Deactivate' : 'Activate'}
      </Button>
      <Button onClick={() => start('rotate')}>Rotate its password</Button>
      <Button kind="danger" onClick={() => start('delete')}>
        Delete
      </Button>
    </ForWriters>
  );
}

function Gone({ uuid }: { uuid: string }) {
  return (
    <Empty title="There is no such device">
      <p>
        No device has the uuid <Code text={uuid} />. If it was deleted, its history is below. It may register again.
      </p>
    </Empty>
  );
}

function Content({ known, path }: { known: Known<GetDevicesUuidReply>; path: string }) {
  return (
    <Loaded known={known} path={path}>
      {(reply) => (
        <>
          <div class="row">
            {reply.device.is_active === false ? <Badge tone="bad">inactive</Badge> : <Badge tone="good">active</Badge>}
            <Follows follows={reply.follows} />
            <Age at={known.at} />
          </div>
          <div class="columns">
            <Section title="Why it is at its broker">
              <ResolutionPath reply={reply} />
            </Section>
            <div class="stack">
              <Section title="What it was handed">
                <Handed reply={reply} />
              </Section>
              <Section title="Device">
                <Facts rows={factsOf(reply)} />
              </Section>
            </div>
          </div>
        </>
      )}
    </Loaded>
  );
}

function Follows({ follows }: { follows: GetDevicesUuidReply['follows'] }) {
  if (follows === true) return <Badge tone="good">follows its broker</Badge>;
  return follows === false ? <Badge tone="warn">behind</Badge> : <Badge>not known whether it follows</Badge>;
}

function Handed({ reply: { handed, why_follows } }: { reply: GetDevicesUuidReply }) {
  const brokers = useBrokers();
  return (
    <>
      <p>{why_follows}</p>
      {handed && (
        <Facts
          rows={[
            [
              'Broker',
              <BrokerLink
                key="broker"
                id={handed.broker_id}
                name={brokers.find(({ id }) => id === handed.broker_id)?.name}
              />,
            ],
            ['When', <Time key="at" at={handed.at} />],
            ['Version of the settings', <Code key="version" text={handed.version} />],
          ]}
        />
      )}
    </>
  );
}

function factsOf({ device }: GetDevicesUuidReply): Fact[] {
  const text = (name: string) => <Name text={device[name] as string | null | undefined} />;
  const key = device.provisioned_by_key_id as string | null | undefined;
  return [
    ['Uuid', <Code key="uuid" text={device.uuid} />, 'wide'],
    ['Type', <Name key="type" text={device.device_type} />],
    [
      'Fleet',
      device.fleet_id === null ? (
        '—'
      ) : (
        <a href={apiPath('/devices', { fleet_id: device.fleet_id })}>{device.fleet_id}</a>
      ),
    ],
    ['MQTT user', <Code key="user" text={device.mqtt_username} />, 'wide'],
    ['Region', text('region')],
    ['Tags', <Tags key="tags" tags={device.tags} />],
    ['Operating system', text('os_version')],
    ['Supervisor', text('supervisor_version')],
    ['MAC address', text('mac_address')],
    [
      'Provisioning key',
      key ? (
        <a href={`/keys/${key}`}>
          <Code text={key} />
        </a>
      ) : (
        '—'
      ),
    ],
    ['Registered', <Time key="registered" at={device.created_at} />],
    ['Changed', <Time key="changed" at={device.modified_at} />],
    ['Assigned', <Time key="assigned" at={device.mqtt_broker_assigned_at} />],
  ];
}

function Tags({ tags }: { tags: Record<string, unknown> | null }) {
  const pairs = Object.entries(tags ?? {});
  if (pairs.length === 0) return <span class="muted">—</span>;
  return (
    <span class="row tight">
      {pairs.map(([name, value]) => (
        <a key={name} class="badge" href={apiPath('/devices', { tags: `${name}:${value}` })}>
          <bdi>
            {name}:{String(value)}
          </bdi>
        </a>
      ))}
    </span>
  );
}

const TONES: Record<string, Tone> = {
  refused: 'bad',
  deleted: 'bad',
  deactivated: 'warn',
  moved: 'info',
  registered: 'good',
  activated: 'good',
};

const COLUMNS: Column<DeviceEvent>[] = [
  { title: 'When', cell: ({ at }) => <Time at={at} /> },
  { title: 'What', cell: ({ type }) => <Badge tone={TONES[type] ?? 'neutral'}>{type}</Badge> },
  { title: 'From', cell: (event) => <BrokerLink id={event.from_broker_id} name={event.from_broker_name} /> },
  { title: 'To', cell: (event) => <BrokerLink id={event.to_broker_id} name={event.to_broker_name} /> },
  { title: 'Why', cell: ({ reason, job_reason }) => <Name text={job_reason ?? reason} /> },
  {
    title: 'Job',
    cell: ({ job_id }) => (job_id === null ? <span class="muted">—</span> : <a href={`/jobs/${job_id}`}>{job_id}</a>),
  },
  { title: 'Who', kind: 'minor', cell: ({ actor }) => <Name text={actor} /> },
  { title: 'Address', kind: 'minor', cell: ({ source_ip }) => <Code text={source_ip} /> },
];

/** Of a deleted device too. */
function History({ uuid }: { uuid: string }) {
  const { query } = useLocation();
  const path = apiPath(`${DEVICES}/${encodeURIComponent(uuid)}/events`, { limit: PAGE, before: query.before });
  const known = useListQuery<GetDevicesUuidEventsReply>(path);
  if (known.failure?.status === 404) return null;
  return (
    <Section title="History">
      <Loaded known={known} path={path}>
        {({ events, next }) => (
          <>
            <Table
              caption="Events of this device, newest first"
              columns={COLUMNS}
              rows={events}
              keyOf={({ id }) => id}
              empty={<p class="muted">Nothing is recorded.</p>}
            />
            {(next || query.before) && <Pager next={next} place="before" />}
          </>
        )}
      </Loaded>
    </Section>
  );
}
