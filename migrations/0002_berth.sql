-- What Berth adds. Safe on a legacy database with rows in it: columns, indexes and tables are added,
-- and no row is removed.

-- A device identifier as devices.uuid wants it. Where that column is of type uuid, an identifier that
-- is not an RFC 4122 one becomes NULL (found nowhere, refused on insert) instead of an error or, worse,
-- Postgres' idea of the same uuid: it would take a dashless spelling for another device's.
do $$
begin
  if (select data_type from information_schema.columns
      where table_schema = current_schema() and table_name = 'devices' and column_name = 'uuid') = 'uuid' then
    create or replace function berth_uuid(identifier text) returns uuid language sql immutable parallel safe as
      'select case when identifier ~ ''^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$'' then identifier::uuid end';
  else
    create or replace function berth_uuid(identifier text) returns text language sql immutable parallel safe as
      'select identifier';
  end if;
end $$;

alter table devices
  add column if not exists mqtt_password_salt text,
  add column if not exists mqtt_broker_assigned_at timestamptz;
comment on column devices.mqtt_password_salt is 'generation$salt the MQTT password is derived from; NULL: password unknown to Berth';
comment on column devices.mqtt_broker_id is 'the assignment; NULL: whatever the default broker is now';

alter table mqtt_broker_config
  add column if not exists accepts_new_devices boolean not null default true;
comment on column mqtt_broker_config.accepts_new_devices is 'false: drained, keeps its devices and takes no new ones';

alter table provisioning_keys
  add column if not exists default_broker_id integer references mqtt_broker_config (id) on delete set null,
  add column if not exists revoked_at timestamptz,
  add column if not exists revoked_reason text;

-- The legacy service could leave several defaults behind: the active, most recently changed one stays.
update mqtt_broker_config set is_default = false
where is_default and id <> (
  select id from mqtt_broker_config where is_default
  order by is_active desc nulls last, updated_at desc nulls last, id limit 1
);
create unique index if not exists mqtt_broker_config_one_default on mqtt_broker_config (is_default) where is_default;

-- An assignment ends with its broker. An assignment to a broker that is already gone is kept as it
-- is (the constraint then stays NOT VALID): it resolves like none.
do $$
declare
  existing record;
begin
  for existing in
    select conname from pg_constraint
    where conrelid = 'devices'::regclass and confrelid = 'mqtt_broker_config'::regclass and confdeltype <> 'n'
  loop
    execute format('alter table devices drop constraint %I', existing.conname);
  end loop;
  if not exists (
    select from pg_constraint where conrelid = 'devices'::regclass and confrelid = 'mqtt_broker_config'::regclass
  ) then
    alter table devices add constraint devices_mqtt_broker_id_fkey
      foreign key (mqtt_broker_id) references mqtt_broker_config (id) on delete set null not valid;
    if not exists (
      select from devices d where d.mqtt_broker_id is not null
      and not exists (select from mqtt_broker_config b where b.id = d.mqtt_broker_id)
    ) then
      alter table devices validate constraint devices_mqtt_broker_id_fkey;
    end if;
  end if;
end $$;

create index if not exists devices_mqtt_broker_id_idx on devices (mqtt_broker_id, id);
create index if not exists devices_fleet_id_idx on devices (fleet_id, id);
create index if not exists mqtt_acls_username_idx on mqtt_acls (username);
create index if not exists provisioning_keys_key_hash_idx on provisioning_keys (key_hash);
create index if not exists provisioning_keys_fleet_id_idx on provisioning_keys (fleet_id);

-- Append-only. No foreign keys: a record of a refusal must not depend on the device it refused.
create table if not exists device_events (
  id             bigint generated always as identity primary key,
  at             timestamptz not null default now(),
  type           text not null,
  device_uuid    text,
  fleet_id       text,
  actor          text,
  reason         text,
  from_broker_id integer,
  to_broker_id   integer,
  source_ip      text,
  request_id     text
);
create index if not exists device_events_device_idx on device_events (device_uuid, id);
create index if not exists device_events_refused_idx on device_events (source_ip, reason, at) where type = 'refused';

do $$
begin
  if to_regclass('mqtt_broker_summary') is null then
    create view mqtt_broker_summary as
      select b.id, b.name, b.description, b.protocol, b.host, b.port, b.is_active, b.is_default, b.broker_type,
             b.last_connected_at,
             count(d.id) as device_count,
             count(d.id) filter (where d.is_active) as active_device_count
      from mqtt_broker_config b
      left join devices d on d.mqtt_broker_id = b.id
      group by b.id;
  end if;
end $$;
