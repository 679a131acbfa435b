import { useLocation } from 'preact-iso/router';
import { JOBS, KEYS, STATS } from '../api/paths.ts';
import type { GetDevicesBulkAssignReply, GetProvisioningKeysReply, GetStatsReply, Job } from '../api/types.ts';
import { useQuery } from '../data/query.ts';
import { Badge } from '../ui/badge.tsx';
import { BrokerLink } from '../ui/broker-parts.tsx';
import { ForWriters, LinkButton } from '../ui/button.tsx';
import { Chart, MAX_SERIES, type Series } from '../ui/chart.tsx';
import { Empty } from '../ui/empty.tsx';
import { Facts } from '../ui/facts.tsx';
import { Loaded } from '../ui/loaded.tsx';
import { Code, Name } from '../ui/name.tsx';
import { Count, formatted } from '../ui/number.tsx';
import { Page, Section } from '../ui/page.tsx';
import { Progress } from '../ui/progress.tsx';
import { type Column, Table } from '../ui/table.tsx';
import { Age, duration, Time } from '../ui/time.tsx';
import { apiPath, withQuery } from '../url-state.ts';

const POLL_MS = 10_000;

type Broker = GetStatsReply['brokers'][number];
type Key = GetStatsReply['keys'][number];
type Certificate = GetStatsReply['certificates'][number];
type Point = GetStatsReply['points'][number];

/** How the fleet is: devices, registrations, and what needs attention. */
export default function Overview() {
  const { query } = useLocation();
  const resolution = query.by === 'hour' ? 'hour' : undefined;
  const path = apiPath(STATS, { resolution });
  const stats = useQuery<GetStatsReply>(path, POLL_MS);
  const jobs = useQuery<GetDevicesBulkAssignReply>(apiPath(JOBS, { limit: 20 }), POLL_MS);
  return (
    <Page title="Overview">
      <Loaded known={stats} path={path}>
        {(data) =>
          data.brokers.length === 0 ? (
            <FirstSteps stats={data} />
          ) : (
            <>
              <FirstSteps stats={data} />
              <Totals stats={data} />
              <Activity stats={data} />
              <div class="columns">
                <Brokers brokers={data.brokers} />
                <div class="stack">
                  <Section title="Open bulk-assign jobs">
                    <Loaded known={jobs}>{({ jobs }) => <OpenJobs jobs={jobs} />}</Loaded>
                  </Section>
                  <Keys keys={data.keys} />
                  <Certificates certificates={data.certificates} />
                </div>
              </div>
            </>
          )
        }
      </Loaded>
    </Page>
  );
}

const total = (brokers: Broker[], of: (broker: Broker) => number | null) =>
  brokers.reduce((sum, broker) => sum + (of(broker) ?? 0), 0);

/** The oldest count decides; a broker that was added since has none. */
function countedAt(brokers: Broker[]): string | undefined {
  return brokers
    .flatMap(({ counted_at }) => counted_at ?? [])
    .sort()
    .at(0);
}

/** What to do first, until there are devices. */
function FirstSteps({ stats: { brokers } }: { stats: GetStatsReply }) {
  const isEmpty = brokers.length > 0 && total(brokers, ({ resolved }) => resolved) === 0;
  const keys = useQuery<GetProvisioningKeysReply>(isEmpty ? apiPath(KEYS, { limit: 1 }) : undefined);
  if (brokers.length === 0) {
    return (
      <Empty title="There is no broker yet">
        <p>
          Devices register only where a broker can be handed to them. Add the first one, test it, and make it the
          default.
        </p>
        <ForWriters>
          <LinkButton href="/brokers/new" kind="primary">
            Add the first broker
          </LinkButton>
        </ForWriters>
      </Empty>
    );
  }
  if (!isEmpty || !keys.data) return null;
  if (keys.data.keys.length === 0) {
    return (
      <Empty title="There is no provisioning key yet">
        <p>
          Devices register with the key of their fleet. Issue the first one: its page shows the command that registers a
          device.
        </p>
        <ForWriters>
          <LinkButton href="/keys/new" kind="primary">
            Issue the first key
          </LinkButton>
        </ForWriters>
      </Empty>
    );
  }
  if (countedAt(brokers) === undefined) return null;
  return (
    <Empty title="There is no device yet">
      <p>Register one with a provisioning key. Devices are counted every minute.</p>
      <LinkButton href="/keys">Show the keys</LinkButton>
    </Empty>
  );
}

/** The schedule counts every minute. */
const OLD_MS = 180_000;

function Totals({ stats: { brokers, generated_at } }: { stats: GetStatsReply }) {
  const at = countedAt(brokers);
  if (at === undefined)
    return brokers.length > 0 ? (
      <p class="note">The devices are not counted yet. A schedule does it every minute.</p>
    ) : null;
  const behind = total(brokers, (broker) => broker.behind);
  const isOld = Date.parse(generated_at) - Date.parse(at) > OLD_MS;
  return (
    <Section title="Devices" actions={<Age at={at} verb="Counted" />}>
      {isOld && (
        <p class="row">
          <Badge tone="warn">old</Badge> The schedule count-stats has not run since. These numbers may be wrong.
        </p>
      )}
      <Facts
        rows={[
          ['With a broker', <Count key="all" value={total(brokers, ({ resolved }) => resolved)} />],
          ['Active', <Count key="active" value={total(brokers, ({ active }) => active)} />],
          [
            'Behind',
            behind === 0 ? (
              <Count key="behind" value={0} />
            ) : (
              <a key="behind" href="/devices?behind=true">
                <Count value={behind} />
              </a>
            ),
          ],
        ]}
      />
    </Section>
  );
}

const BROKER_COLUMNS: Column<Broker>[] = [
  { title: 'Broker', cell: ({ id, name }) => <BrokerLink id={id} name={name} /> },
  { title: 'Devices', kind: 'number', cell: ({ resolved }) => <Count value={resolved} /> },
  { title: 'Active', kind: 'number', cell: ({ active }) => <Count value={active} /> },
  { title: 'Behind', kind: 'number', cell: ({ behind }) => <Count value={behind} /> },
];
/** The default and those with most devices. */
const SHOWN_BROKERS = 10;

function Brokers({ brokers }: { brokers: Broker[] }) {
  if (brokers.length === 0) return null;
  const [first, ...others] = brokers;
  const shown = [first as Broker, ...others.sort((a, b) => (b.resolved ?? 0) - (a.resolved ?? 0))].slice(
    0,
    SHOWN_BROKERS,
  );
  const at = countedAt(brokers);
  return (
    <Section title="Brokers" actions={at && <Age at={at} verb="Counted" />}>
      <Table caption="Brokers with their devices" columns={BROKER_COLUMNS} rows={shown} keyOf={({ id }) => id} />
      <p>
        <a href="/brokers">{brokers.length > shown.length ? `All ${formatted(brokers.length)} brokers` : 'Brokers'}</a>
      </p>
    </Section>
  );
}

const dayAndTime = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'short' });
const timeText = (at: number) => dayAndTime.format(at);

/** Registrations, refusals and moves over time. */
function Activity({ stats }: { stats: GetStatsReply }) {
  const { points, resolution } = stats;
  const { url } = useLocation();
  const span = resolution === 'hour' ? 'in the last 7 days' : 'in the last 3 hours';
  const times = points.map(({ at }) => Date.parse(at));
  const of = (name: string, value: (point: Point) => number): Series => ({ name, values: points.map(value) });
  const moves = of('Moves', ({ moved }) => moved);
  return (
    <Section
      title="Registrations and refusals"
      actions={
        <nav class="row spans" aria-label="Resolution">
          <a href={withQuery(url, { by: undefined })} aria-current={resolution === 'minute' ? 'true' : undefined}>
            3 hours by minute
          </a>
          <a href={withQuery(url, { by: 'hour' })} aria-current={resolution === 'hour' ? 'true' : undefined}>
            7 days by hour
          </a>
        </nav>
      }
    >
      {points.length === 0 ? (
        <p class="note">Events are not counted yet. A schedule does it every minute.</p>
      ) : (
        <>
          <Age at={stats.to} verb="Counted" />
          <OneChart
            title="Registrations"
            {...{ times, span }}
            series={[of('Registrations', (point) => point.registered)]}
          />
          <OneChart title="Refusals" {...{ times, span }} series={refusals(points)} />
          {moves.values.some((value) => value > 0) && <OneChart title="Moves" {...{ times, span }} series={[moves]} />}
        </>
      )}
    </Section>
  );
}

function OneChart({ title, times, series, span }: { title: string; times: number[]; series: Series[]; span: string }) {
  const isEmpty = series.every(({ values }) => values.every((value) => value === 0));
  return (
    <div>
      <h3>{title}</h3>
      {isEmpty ? (
        <p class="note">None {span}.</p>
      ) : (
        <Chart {...{ title: `${title} ${span}`, times, series, timeText }} />
      )}
    </div>
  );
}

/** A series for each code, the most frequent first; the rest together. */
function refusals(points: Point[]): Series[] {
  const sums = new Map<string, number>();
  for (const { refused } of points) {
    for (const [code, n] of Object.entries(refused)) sums.set(code, (sums.get(code) ?? 0) + n);
  }
  const codes = [...sums].sort(([, a], [, b]) => b - a).map(([code]) => code);
  const named = codes.length > MAX_SERIES ? codes.slice(0, MAX_SERIES - 1) : codes;
  const series = named.map((code) => ({ name: code, values: points.map(({ refused }) => refused[code] ?? 0) }));
  if (named.length === codes.length) return series;
  const rest = ({ refused }: Point) =>
    Object.entries(refused).reduce((sum, [code, n]) => (named.includes(code) ? sum : sum + n), 0);
  return [...series, { name: 'other', values: points.map(rest) }];
}

const isOpen = ({ state }: Pick<Job, 'state'>) => state === 'queued' || state === 'running';

type ListedJob = GetDevicesBulkAssignReply['jobs'][number];
const JOB_COLUMNS: Column<ListedJob>[] = [
  { title: 'Job', cell: ({ id }) => <a href={`/jobs/${id}`}>Job {id}</a> },
  { title: 'State', cell: ({ state }) => <Badge tone="info">{state}</Badge> },
  { title: 'Progress', kind: 'wide', cell: ({ id, progress }) => <Progress part={progress} label={`Job ${id}`} /> },
  { title: 'Moved', kind: 'number', cell: ({ moved }) => <Count value={moved} /> },
  {
    title: 'Left',
    kind: 'minor',
    cell: ({ seconds_left }) => (seconds_left === null ? <span class="muted">—</span> : duration(seconds_left)),
  },
];

function OpenJobs({ jobs }: { jobs: ListedJob[] }) {
  const open = jobs.filter(isOpen);
  return (
    <>
      <Table
        caption="Open bulk-assign jobs"
        columns={JOB_COLUMNS}
        rows={open}
        keyOf={({ id }) => id}
        empty={<p class="note">None.</p>}
      />
      <p>
        <a href="/jobs">All jobs</a>
      </p>
    </>
  );
}

const KEY_COLUMNS: Column<Key>[] = [
  {
    title: 'Key',
    cell: ({ id, description, fleet_id }) => (
      <a href={`/keys/${id}`}>
        <Name text={description ?? fleet_id} />
      </a>
    ),
  },
  { title: 'Fleet', kind: 'minor', cell: ({ fleet_id }) => <Name text={fleet_id} /> },
  {
    title: 'Places used',
    kind: 'number',
    cell: ({ devices_provisioned, max_devices }) =>
      max_devices === null
        ? formatted(devices_provisioned)
        : `${formatted(devices_provisioned)} of ${formatted(max_devices)}`,
  },
  { title: 'Expires', cell: ({ expires_at }) => <Time at={expires_at} /> },
];

function Keys({ keys }: { keys: Key[] }) {
  return (
    <Section title="Provisioning keys that expire soon or run out">
      <Table
        caption="Provisioning keys that expire soon or run out"
        columns={KEY_COLUMNS}
        rows={keys}
        keyOf={({ id }) => id}
        empty={
          <p class="note">
            None: no key expires within 14 days, and none in use has less than a tenth of its places left.
          </p>
        }
      />
    </Section>
  );
}

const OF = {
  server: 'the broker’s own',
  ca_cert: 'CA that devices get',
  client_cert: 'client certificate of the test',
};
const CERTIFICATE_COLUMNS: Column<Certificate>[] = [
  { title: 'Broker', cell: ({ broker_id, broker_name }) => <BrokerLink id={broker_id} name={broker_name} /> },
  { title: 'Certificate', cell: ({ of }) => OF[of] },
  { title: 'Subject', kind: 'minor', cell: ({ subject }) => <Code text={subject} /> },
  {
    title: 'Expires',
    cell: ({ expires_at }) => (
      <>
        <Time at={expires_at} /> {Date.parse(expires_at) < Date.now() && <Badge tone="bad">expired</Badge>}
      </>
    ),
  },
  { title: 'Seen', kind: 'minor', cell: ({ seen_at }) => <Time at={seen_at} /> },
];

function Certificates({ certificates }: { certificates: Certificate[] }) {
  return (
    <Section title="Certificates that expire">
      <Table
        caption="Certificates that expire within 30 days"
        columns={CERTIFICATE_COLUMNS}
        rows={certificates}
        keyOf={({ broker_id, of, subject, expires_at }) => `${broker_id} ${of} ${subject} ${expires_at}`}
        empty={<p class="note">None within 30 days, of those that the check every 6 hours has seen.</p>}
      />
    </Section>
  );
}
