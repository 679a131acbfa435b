import { useLocation } from 'preact-iso/router';
import { DEVICES, FLEETS } from '../api/paths.ts';
import type { Device, GetDevicesReply, GetFleetsReply, ListedBroker } from '../api/types.ts';
import { useBrokers } from '../data/brokers.ts';
import { useListQuery, useQuery } from '../data/query.ts';
import { Badge } from '../ui/badge.tsx';
import { BrokerLink } from '../ui/broker-parts.tsx';
import { ForWriters, LinkButton } from '../ui/button.tsx';
import { Curl } from '../ui/curl.tsx';
import { Empty } from '../ui/empty.tsx';
import { Filters, SelectFilter, TextFilter, ToggleFilter } from '../ui/filters.tsx';
import { Loaded } from '../ui/loaded.tsx';
import { Code, Name } from '../ui/name.tsx';
import { counted } from '../ui/number.tsx';
import { Page } from '../ui/page.tsx';
import { type Column, Pager, Table } from '../ui/table.tsx';
import { Age, Time } from '../ui/time.tsx';
import { apiPath, withQuery } from '../url-state.ts';

const PAGE = 100;
/** `broker_id` of the URL: devices without an assignment. */
const NONE = 'none';
/** Filters that a bulk-assign job has too. */
const JOB_FILTERS = ['broker_id', 'unassigned', 'fleet_id', 'device_type', 'region', 'tags'];

export default function Devices() {
  const { query } = useLocation();
  const brokers = useBrokers();
  const path = devicesPath(query);
  const known = useListQuery<GetDevicesReply>(path);
  const isFiltered = Object.keys(query).some((name) => !['after', 'trail'].includes(name));
  return (
    <Page title="Devices" actions={<MoveThese query={query} />}>
      <DeviceFilters brokers={brokers} />
      <Loaded known={known} path={path}>
        {({ devices, next }) => (
          <>
            <p class="visually-hidden" role="status">
              {counted(devices.length, 'device')} on this page
            </p>
            <Table
              caption="Devices"
              columns={columns(brokers)}
              rows={devices}
              keyOf={({ id }) => id}
              empty={isFiltered ? <NoMatch /> : <NoDevices />}
            />
            {(devices.length > 0 || query.after) && (
              <Pager next={next}>
                <Age at={known.at} />
              </Pager>
            )}
          </>
        )}
      </Loaded>
      <Curl request={{ method: 'GET', path }} />
    </Page>
  );
}

function devicesPath(query: Record<string, string>): string {
  const { trail: _, broker_id, ...filters } = query;
  const broker = broker_id === NONE ? { unassigned: true } : { broker_id };
  return apiPath(DEVICES, { limit: PAGE, ...filters, ...broker });
}

function DeviceFilters({ brokers }: { brokers: ListedBroker[] }) {
  const fleets = useQuery<GetFleetsReply>(apiPath(FLEETS, { limit: PAGE })).data;
  const brokerOptions: [string, string][] = [
    ['', 'any'],
    [NONE, 'none: follows the default'],
    ...brokers.map(({ id, name }): [string, string] => [String(id), name]),
  ];
  const fleetOptions: [string, string][] = [
    ['', 'any'],
    ...(fleets?.fleets ?? []).map(({ fleet_id }): [string, string] => [String(fleet_id), String(fleet_id)]),
  ];
  return (
    <Filters>
      <TextFilter name="search" label="Search" placeholder="uuid or name" />
      <SelectFilter name="broker_id" label="Assigned to" options={brokerOptions} />
      {fleets?.next ? (
        <TextFilter name="fleet_id" label="Fleet" maxLength={100} />
      ) : (
        <SelectFilter name="fleet_id" label="Fleet" options={fleetOptions} />
      )}
      <TextFilter name="device_type" label="Type" maxLength={100} />
      <TextFilter name="region" label="Region" maxLength={100} />
      <TextFilter name="tags" label="Tags" placeholder="site:berlin" />
      <SelectFilter
        name="is_active"
        label="State"
        options={[
          ['', 'any'],
          ['true', 'active'],
          ['false', 'inactive'],
        ]}
      />
      <ToggleFilter name="behind" label="Behind" />
    </Filters>
  );
}

function columns(brokers: ListedBroker[]): Column<Device>[] {
  const names = new Map(brokers.map(({ id, name }) => [id, name]));
  return [
    {
      title: 'Device',
      cell: ({ uuid, device_name }) => (
        <a href={`/devices/${encodeURIComponent(uuid)}`}>
          <Name text={device_name} fallback={uuid} />
        </a>
      ),
    },
    { title: 'Uuid', kind: 'minor', cell: ({ uuid }) => <Code text={uuid} /> },
    { title: 'Type', kind: 'minor', cell: ({ device_type }) => <Name text={device_type} /> },
    { title: 'Fleet', kind: 'minor', cell: ({ fleet_id }) => <Name text={fleet_id} /> },
    {
      title: 'Assigned to',
      cell: ({ mqtt_broker_id }) =>
        mqtt_broker_id === null ? (
          <span class="muted">follows the default</span>
        ) : (
          <BrokerLink id={mqtt_broker_id} name={names.get(mqtt_broker_id)} />
        ),
    },
    {
      title: 'State',
      cell: ({ is_active }) =>
        is_active === false ? <Badge tone="bad">inactive</Badge> : <Badge tone="good">active</Badge>,
    },
    { title: 'Registered', kind: 'minor', cell: ({ created_at }) => <Time at={created_at} /> },
  ];
}

/** Where the filter of the list can be the filter of a job. */
function MoveThese({ query }: { query: Record<string, string> }) {
  const { search, behind, is_active, online } = query;
  if (search || behind || is_active || online) return null;
  const { broker_id, ...others } = query;
  const filter = Object.fromEntries(Object.entries(others).filter(([name]) => JOB_FILTERS.includes(name)));
  const broker = broker_id === NONE ? { unassigned: 'true' } : { broker_id };
  return (
    <ForWriters>
      <LinkButton href={withQuery('/jobs/new', { ...filter, ...broker })}>Move these devices …</LinkButton>
    </ForWriters>
  );
}

function NoMatch() {
  return (
    <Empty title="No device matches">
      <p>The search finds the beginning of a uuid or a name, in any case. The other filters match whole values.</p>
      <LinkButton href="/devices">Show all devices</LinkButton>
    </Empty>
  );
}

function NoDevices() {
  return (
    <Empty title="No device has registered yet">
      <p>
        A device registers with a provisioning key. Issue one: its page has a command that registers a first device.
      </p>
      <ForWriters>
        <LinkButton href="/keys/new" kind="primary">
          Issue a provisioning key
        </LinkButton>
      </ForWriters>
    </Empty>
  );
}
