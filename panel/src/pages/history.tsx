import { useLocation } from 'preact-iso/router';
import { GetEventsQuery } from '../api/constraints.ts';
import { EVENTS } from '../api/paths.ts';
import type { GetEventsReply, ListedBroker } from '../api/types.ts';
import { useBrokers } from '../data/brokers.ts';
import { useQuery } from '../data/query.ts';
import { Badge, type Tone } from '../ui/badge.tsx';
import { BrokerLink } from '../ui/broker-parts.tsx';
import { Empty } from '../ui/empty.tsx';
import { EventChanges } from '../ui/event-changes.tsx';
import { Filters, SelectFilter, TextFilter } from '../ui/filters.tsx';
import { Loaded } from '../ui/loaded.tsx';
import { Code, Name } from '../ui/name.tsx';
import { Page } from '../ui/page.tsx';
import { type Column, Pager, Table } from '../ui/table.tsx';
import { Age, Time } from '../ui/time.tsx';
import { apiPath } from '../url-state.ts';

const PAGE = 100;
const FILTERS = ['kind', 'type', 'actor', 'broker_id', 'key_id', 'job_id', 'device_uuid'];

type Event = GetEventsReply['items'][number];

export default function History() {
  const { query } = useLocation();
  const brokers = useBrokers();
  const filter = Object.fromEntries(FILTERS.map((name) => [name, query[name]]));
  const path = apiPath(EVENTS, { limit: PAGE, ...filter, before: query.before });
  const known = useQuery<GetEventsReply>(path);
  const isFiltered = FILTERS.some((name) => query[name]);
  return (
    <Page title="History">
      <HistoryFilters brokers={brokers} />
      <Loaded known={known} path={path}>
        {({ items, next }) => (
          <>
            <Table
              caption="What operators did and what happened to devices, newest first"
              columns={columns(brokers)}
              rows={items}
              keyOf={({ id }) => id}
              empty={<Nothing more={next !== undefined} {...{ isFiltered }} />}
            />
            {(items.length > 0 || next || query.before) && (
              <Pager next={next} place="before">
                <Age at={known.at} />
              </Pager>
            )}
          </>
        )}
      </Loaded>
    </Page>
  );
}

/** Types of operators' events name their target first. */
const isOfOperators = (type: string) => /^(broker|default|key|job)-/.test(type);

function HistoryFilters({ brokers }: { brokers: ListedBroker[] }) {
  const { kind } = useLocation().query;
  const types = (GetEventsQuery.type?.enum ?? []).filter(
    (type) => !kind || isOfOperators(type) === (kind === 'operator'),
  );
  return (
    <Filters>
      <SelectFilter
        name="kind"
        label="Of"
        options={[
          ['', 'operators and devices'],
          ['operator', 'operators'],
          ['device', 'devices'],
        ]}
      />
      <SelectFilter
        name="type"
        label="What"
        options={[['', 'anything'], ...types.map((type): [string, string] => [type, type])]}
      />
      <SelectFilter
        name="broker_id"
        label="Broker"
        options={[['', 'any'], ...brokers.map(({ id, name }): [string, string] => [String(id), name])]}
      />
      <TextFilter name="device_uuid" label="Device" placeholder="uuid" />
      <TextFilter name="job_id" label="Job" placeholder="number" />
      <TextFilter name="key_id" label="Provisioning key" placeholder="id" />
      <TextFilter name="actor" label="Who" placeholder="admin, schedule …" maxLength={500} />
    </Filters>
  );
}

const TONES: Record<string, Tone> = {
  ...{ refused: 'bad', deleted: 'bad', 'broker-deleted': 'bad', 'key-revoked': 'bad' },
  ...{ deactivated: 'warn', 'default-changed': 'warn', 'job-cancelled': 'warn' },
  ...{ moved: 'info', 'broker-changed': 'info', 'key-changed': 'info' },
  ...{ registered: 'good', activated: 'good', 'broker-created': 'good', 'key-issued': 'good', 'job-created': 'good' },
};

function columns(brokers: ListedBroker[]): Column<Event>[] {
  return [
    { title: 'When', cell: ({ at }) => <Time at={at} /> },
    { title: 'What', cell: ({ type }) => <Badge tone={TONES[type] ?? 'neutral'}>{type}</Badge> },
    { title: 'Of', cell: ({ target }) => <Target target={target} /> },
    { title: 'Before and after', kind: 'wide', cell: (event) => <EventChanges event={event} brokers={brokers} /> },
    { title: 'Why', cell: ({ reason }) => <Name text={reason} /> },
    { title: 'Who', cell: ({ actor }) => <Who actor={actor} /> },
    {
      title: 'Job',
      kind: 'minor',
      cell: ({ job_id }) => (job_id === null ? <span class="muted">—</span> : <a href={`/jobs/${job_id}`}>{job_id}</a>),
    },
    { title: 'Address', kind: 'minor', cell: ({ source_ip }) => <Code text={source_ip} /> },
    { title: 'Request', kind: 'minor', cell: ({ request_id }) => <Code text={request_id} /> },
  ];
}

function Target({ target: { kind, id, name } }: { target: Event['target'] }) {
  if (kind === 'broker') return <BrokerLink id={Number(id)} name={name} />;
  if (kind === 'job') {
    return (
      <a href={`/jobs/${id}`}>
        <Name text={`job ${id}`} />
      </a>
    );
  }
  if (kind === 'key') {
    return (
      <a href={`/keys/${id}`}>
        <Name text={`key of ${name}`} />
      </a>
    );
  }
  return (
    <a href={`/devices/${encodeURIComponent(id)}`}>
      <Name text={name ?? String(id)} />
    </a>
  );
}

/** A device acts as itself: its uuid is the target already. */
function Who({ actor }: { actor: string | null }) {
  return <Name text={actor?.startsWith('device:') ? 'the device' : actor} />;
}

function Nothing({ more, isFiltered }: { more: boolean; isFiltered: boolean }) {
  if (more) {
    return (
      <Empty title="Nothing here matches">
        <p>Among the events that were looked at, none matches. Older ones are on the next page.</p>
      </Empty>
    );
  }
  if (isFiltered) return <Empty title="Nothing matches these filters" />;
  return (
    <Empty title="Nothing has happened yet">
      <p>
        Whatever operators change, and what happens to devices, is listed here. Begin with{' '}
        <a href="/brokers/new">a broker</a>.
      </p>
    </Empty>
  );
}
