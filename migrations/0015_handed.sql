-- A move never takes a device off MQTT: what a device was last handed, and which brokers accept it because of that.

alter table devices
  add column if not exists handed_broker_id integer,
  add column if not exists handed_settings text,
  add column if not exists handed_at timestamptz,
  add column if not exists handed_left_at timestamptz,
  add column if not exists former_broker_ids integer[],
  add column if not exists former_until timestamptz,
  add column if not exists former_closed_at timestamptz;
comment on column devices.handed_broker_id is
  'The broker whose settings the device was last handed. With handed_at NULL: presumed (berth_presumed_broker), or not known yet';
comment on column devices.handed_settings is 'settings_hash of that broker at that time; NULL: not known';
comment on column devices.handed_left_at is 'When a move took the device from the broker that it had been handed';
comment on column devices.former_broker_ids is
  'Brokers that accept the device until former_until, because it has not logged in at the broker that it was handed since';
comment on column devices.former_closed_at is 'When an operator ended what the device may do at brokers that it does not belong to';

alter table mqtt_broker_config
  add column if not exists default_until timestamptz,
  add column if not exists former_client_id_prefixes text[],
  add column if not exists closed_to_former_at timestamptz;
comment on column mqtt_broker_config.default_until is 'When it last ceased to be the default';
comment on column mqtt_broker_config.closed_to_former_at is
  'When an operator ended what devices that do not belong to the broker may do here: one row, whatever the number of devices';

alter table bulk_assign_jobs add column if not exists close_former boolean not null default false;

-- A trigger, because the legacy service and the previous release change brokers too while they run on this database.
create or replace function berth_remember_broker() returns trigger language plpgsql as $$
begin
  if old.is_default and new.is_default is not true then
    new.default_until := now();
  end if;
  if coalesce(new.client_id_prefix, 'berth') <> coalesce(old.client_id_prefix, 'berth') then
    new.former_client_id_prefixes := array_append(
      array_remove(old.former_client_id_prefixes, new.client_id_prefix::text), coalesce(old.client_id_prefix, 'berth')::text);
  end if;
  return new;
end $$;
create or replace trigger berth_remember_broker before update of is_default, client_id_prefix on mqtt_broker_config
  for each row execute function berth_remember_broker();

-- The first default that has ended since a device registered is the default of that time. No row: it is still the default.
create or replace function berth_default_of(registered timestamp) returns table (broker_id integer)
language sql stable parallel safe as $$
  select b.id from mqtt_broker_config b
  where b.default_until > coalesce(registered, '-infinity') at time zone 'utc' order by b.default_until limit 1
$$;

-- What a device was handed whose row does not say it: rows from before this migration, or of the legacy service.
create or replace function berth_presumed_broker(
  device_uuid text, assigned_broker integer, provisioning_key uuid, registered timestamp
) returns integer language sql stable parallel safe as $$
  select coalesce(case when resolved.source = 'default' then (select d.broker_id from berth_default_of(registered) d) end,
    resolved.broker_id)
  from berth_resolved(device_uuid, assigned_broker, provisioning_key, false) resolved
$$;

-- Why a broker accepts a device that does not resolve to it: handed, former. NULL: it does not. A function that is inlined, so
-- that one broker's devices can be counted without a look at every broker.
create or replace function berth_former_reason(
  broker integer, closed_to_former_at timestamptz, default_until timestamptz, assigned integer, assigned_at timestamptz,
  registered timestamp, handed integer, handed_at timestamptz, handed_left_at timestamptz, former integer[],
  former_until timestamptz, former_closed_at timestamptz
) returns text language sql stable parallel safe as $$
  select case
    when broker = handed then
      case when greatest(closed_to_former_at, former_closed_at) >= coalesce(greatest(
             handed_at, handed_left_at,
             -- Followers of the default leave it without a write to their rows.
             case when assigned is null and coalesce(assigned_at, '-infinity') < default_until
                  then default_until end), '-infinity') then null
           else 'handed' end
    when broker = any(former) and former_until > now() and coalesce(closed_to_former_at < handed_at, true) then 'former'
    -- Not known yet: every default of the time since it registered.
    when handed is null and handed_at is null and default_until > coalesce(registered, '-infinity') at time zone 'utc'
      and coalesce(greatest(closed_to_former_at, former_closed_at) < default_until, true) then 'handed'
  end
$$;

-- The brokers that accept a device. Reasons: resolved (exactly one row; broker_id NULL: no broker resolves), handed, former.
-- The only implementation of this rule.
create or replace view mqtt_device_brokers as
select d.id as device_id, d.uuid, accepting.broker_id, accepting.source, accepting.reason,
       d.former_broker_ids is not null and accepting.broker_id = d.handed_broker_id as ends_former
from devices d
left join lateral berth_resolved(d.uuid::text, d.mqtt_broker_id, d.provisioned_by_key_id, false) resolved on true
cross join lateral (
  select resolved.broker_id, resolved.source, 'resolved'::text as reason
  union all
  select b.id, null, why.reason
  from mqtt_broker_config b
  cross join lateral (
    select berth_former_reason(
      b.id, b.closed_to_former_at, b.default_until, d.mqtt_broker_id, d.mqtt_broker_assigned_at,
      coalesce(d.provisioned_at, d.created_at), d.handed_broker_id, d.handed_at, d.handed_left_at, d.former_broker_ids,
      d.former_until, d.former_closed_at)
  ) why (reason)
  where (d.handed_broker_id is distinct from resolved.broker_id or d.former_broker_ids is not null)
    and b.id is distinct from resolved.broker_id and b.refusal is distinct from 'inactive' and why.reason is not null
) accepting;
comment on view mqtt_device_brokers is 'Which brokers accept a device, and why. ends_former: a login here ends what it may do at former brokers';

-- A device uses what it was handed: nothing else is needed then. Never waits for a lock.
create or replace function berth_end_former(device text, broker integer) returns void language sql volatile as $$
  update devices set former_broker_ids = null, former_until = null
  where id = (
    select id from devices
    where uuid = berth_uuid(device) and handed_broker_id = broker and former_broker_ids is not null
    for update skip locked)
$$;

create or replace function berth_former_client_ids(username text, device_uuid text, prefixes text[]) returns text[]
language sql immutable parallel safe as $$
  select array_agg(prefix || '_' || spelling)
  from unnest(prefixes) prefix, unnest(array[device_uuid, substr(username, 8)]) spelling
$$;

-- What brokers read: one row per user and broker that accepts it. A caller that does not know which broker asks takes the row
-- with reason 'resolved'.
create or replace view mqtt_broker_users as
select u.username, u.password_hash, u.is_superuser, u.device_uuid, b.id as broker_id, b.client_id_prefix,
       accepting.source as broker_source,
       berth_client_ids(u.username, u.device_uuid, b.client_id_prefix)
       -- What devices were handed before the prefix was changed.
       || case when b.former_client_id_prefixes is not null then
            berth_former_client_ids(u.username, u.device_uuid, b.former_client_id_prefixes) end as client_ids,
       coalesce(accepting.reason, 'resolved') as reason, coalesce(accepting.ends_former, false) as ends_former
from mqtt_device_users u
left join mqtt_device_brokers accepting on accepting.uuid = berth_uuid(u.device_uuid)
left join mqtt_broker_config b on b.id = accepting.broker_id;
comment on view mqtt_broker_users is
  'One row per user and broker that accepts it. broker_id NULL: the user belongs to no device, or no broker resolves for it';

-- Fills in what devices were handed before the columns existed. One page of ids; lib/database/fill-handed.ts repeats it, outside
-- any request and any migration, because one statement for a million devices would block moves.
create or replace function berth_fill_handed(after_id integer, size integer)
returns table (last_id integer, filled integer) language sql volatile as $$
  with page as materialized (
    select max(id) as last_id from (select id from devices where id > after_id order by id limit size) one
  ), unknown as materialized (
    -- A row that is being moved gets it with the move.
    select d.id, d.mqtt_broker_id, d.provisioned_by_key_id, coalesce(d.provisioned_at, d.created_at) as registered
    from devices d
    where d.id > after_id and d.id <= (select page.last_id from page) and d.handed_broker_id is null and d.handed_at is null
    for update of d skip locked
  ), alike as materialized (
    -- As berth_presumed_broker, but once for the devices of a page that are alike.
    select own.mqtt_broker_id, own.provisioned_by_key_id, resolved.source, resolved.broker_id
    from (select distinct mqtt_broker_id, provisioned_by_key_id from unknown) own
    cross join lateral berth_resolved(null, own.mqtt_broker_id, own.provisioned_by_key_id, false) resolved
  ), filled as (
    update devices d
    set handed_broker_id =
      coalesce(case when alike.source = 'default' then (select o.broker_id from berth_default_of(unknown.registered) o) end,
        alike.broker_id)
    from unknown
    join alike on alike.mqtt_broker_id is not distinct from unknown.mqtt_broker_id
      and alike.provisioned_by_key_id is not distinct from unknown.provisioned_by_key_id
    where d.id = unknown.id and d.id > after_id and d.id <= (select page.last_id from page)
    returning d.id
  )
  select page.last_id, (select count(*)::integer from filled) from page
$$;

-- Devices that are alike in this are behind or not together, so GET /devices?behind=true looks at few groups of a million devices.
create index if not exists devices_handed_idx on devices
  (coalesce(mqtt_broker_id, 0), coalesce(handed_broker_id, 0), coalesce(handed_settings, ''), id);
