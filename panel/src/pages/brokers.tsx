import { useLocation } from 'preact-iso/router';
import { SUMMARY } from '../api/paths.ts';
import type { GetMqttBrokersSummaryReply, SummarisedBroker } from '../api/types.ts';
import { urlOf } from '../data/brokers.ts';
import { useListQuery } from '../data/query.ts';
import { BrokerState } from '../ui/broker-parts.tsx';
import { ForWriters, LinkButton } from '../ui/button.tsx';
import { Curl } from '../ui/curl.tsx';
import { Empty } from '../ui/empty.tsx';
import { Loaded } from '../ui/loaded.tsx';
import { Code, Name } from '../ui/name.tsx';
import { Count } from '../ui/number.tsx';
import { Page } from '../ui/page.tsx';
import { type Column, Pager, Table } from '../ui/table.tsx';
import { Age, Time } from '../ui/time.tsx';
import { apiPath } from '../url-state.ts';

const PAGE = 200;

const COLUMNS: Column<SummarisedBroker>[] = [
  {
    title: 'Broker',
    cell: ({ id, name }) => (
      <a href={`/brokers/${id}`}>
        <Name text={name} />
      </a>
    ),
  },
  { title: 'State', cell: (broker) => <BrokerState broker={broker} /> },
  { title: 'Address', kind: 'minor', cell: (broker) => <Code text={urlOf(broker)} /> },
  { title: 'Region', kind: 'minor', cell: ({ region }) => <Name text={region} /> },
  {
    title: 'Assigned',
    kind: 'number',
    cell: ({ id, assigned_count }) =>
      assigned_count === 0 ? (
        <Count value={0} />
      ) : (
        <a href={`/devices?broker_id=${id}`}>{<Count value={assigned_count} />}</a>
      ),
  },
  {
    title: 'Following the default',
    kind: 'number',
    cell: ({ is_default, following_default_count }) =>
      is_default ? <Count value={following_default_count} /> : <span class="muted">—</span>,
  },
  { title: 'Behind', kind: 'number', cell: ({ behind_count }) => <Count value={behind_count} /> },
  { title: 'Last test', kind: 'minor', cell: ({ last_connected_at }) => <Time at={last_connected_at} /> },
];

export default function Brokers() {
  const { query } = useLocation();
  const path = apiPath(SUMMARY, { limit: PAGE, after: query.after });
  const known = useListQuery<GetMqttBrokersSummaryReply>(path);
  return (
    <Page
      title="Brokers"
      actions={
        <ForWriters>
          <LinkButton href="/brokers/new" kind="primary">
            Add a broker
          </LinkButton>
        </ForWriters>
      }
    >
      <Loaded known={known} path={path}>
        {({ data, next }) => (
          <>
            <Table
              caption="Brokers with their devices"
              columns={COLUMNS}
              rows={data}
              keyOf={({ id }) => id}
              empty={
                <Empty title="There is no broker yet">
                  <p>
                    Devices register only where a broker can be handed to them. Add the first one, test it, and make it
                    the default.
                  </p>
                  <ForWriters>
                    <LinkButton href="/brokers/new" kind="primary">
                      Add the first broker
                    </LinkButton>
                  </ForWriters>
                </Empty>
              }
            />
            {data.length > 0 && (
              <Pager next={next}>
                <Age at={data.map(({ counted_at }) => counted_at).sort()[0] ?? undefined} verb="Devices counted" />
              </Pager>
            )}
          </>
        )}
      </Loaded>
      <Curl request={{ method: 'GET', path }} />
    </Page>
  );
}
