import { useLocation } from 'preact-iso/router';
import { KEYS } from '../api/paths.ts';
import type { GetProvisioningKeysReply, ProvisioningKey } from '../api/types.ts';
import { useQuery } from '../data/query.ts';
import { BrokerLink } from '../ui/broker-choice.tsx';
import { ForWriters, LinkButton } from '../ui/button.tsx';
import { Curl } from '../ui/curl.tsx';
import { Empty } from '../ui/empty.tsx';
import { Filters, TextFilter } from '../ui/filters.tsx';
import { KeyState, KeyUse } from '../ui/key-state.tsx';
import { Loaded } from '../ui/loaded.tsx';
import { Name } from '../ui/name.tsx';
import { Page } from '../ui/page.tsx';
import { type Column, Pager, Table } from '../ui/table.tsx';
import { Age, Time } from '../ui/time.tsx';
import { apiPath } from '../url-state.ts';

const PER_PAGE = 50;

const COLUMNS: Column<ProvisioningKey>[] = [
  {
    title: 'Key',
    kind: 'wide',
    cell: ({ id, description }) => (
      <a href={`/keys/${id}`}>
        {/* The key itself is not stored. This is how it begins. */}
        {description ? <Name text={description} /> : <code>prov_{id.slice(0, 8)}…</code>}
      </a>
    ),
  },
  { title: 'Fleet', cell: ({ fleet_id }) => <Name text={fleet_id} /> },
  { title: 'State', cell: (key) => <KeyState of={key} /> },
  { title: 'Places taken', kind: 'number', cell: (key) => <KeyUse of={key} /> },
  { title: 'Expires', cell: ({ expires_at }) => <Time at={expires_at} /> },
  { title: 'Last used', kind: 'minor', cell: ({ last_used_at }) => <Time at={last_used_at} /> },
  {
    title: 'Broker of its devices',
    kind: 'minor',
    cell: ({ default_broker_id }) => <BrokerLink id={default_broker_id} />,
  },
];

export default function Keys() {
  const { query } = useLocation();
  const path = apiPath(KEYS, {
    fleet_id: query.fleet_id,
    after: query.after,
    limit: PER_PAGE,
  });
  const known = useQuery<GetProvisioningKeysReply>(path);
  return (
    <Page
      title="Provisioning keys"
      actions={
        <ForWriters>
          <LinkButton href="/keys/new" kind="primary">
            Issue a key
          </LinkButton>
        </ForWriters>
      }
    >
      <Filters>
        <TextFilter name="fleet_id" label="Fleet" placeholder="its whole name" maxLength={100} />
      </Filters>
      <Loaded known={known} path={path}>
        {({ keys, next }) => (
          <>
            <Table
              caption="Provisioning keys, newest first"
              columns={COLUMNS}
              rows={keys}
              keyOf={({ id }) => id}
              empty={<NoKeys fleet={query.fleet_id} />}
            />
            <Pager next={next}>
              <Age at={known.at} />
            </Pager>
            <Curl request={{ method: 'GET', path }} />
          </>
        )}
      </Loaded>
    </Page>
  );
}

function NoKeys({ fleet }: { fleet: string | undefined }) {
  if (fleet) {
    return (
      <Empty title="No key of this fleet">
        <p>
          The filter compares whole names. There is no key with the fleet <Name text={fleet} />.
        </p>
      </Empty>
    );
  }
  return (
    <Empty title="No provisioning keys yet">
      <p>Devices register with a provisioning key. Issue one for a fleet, and put it into the image of its devices.</p>
    </Empty>
  );
}
