-- For operators: changes of provisioning keys, pages of all keys, searches, regions and tags.

alter table provisioning_keys
  add column if not exists updated_at timestamptz,
  add column if not exists updated_by text,
  add column if not exists updated_request_id text;
comment on column provisioning_keys.updated_at is 'When an operator last changed it';
comment on column provisioning_keys.updated_request_id is 'By which request: a repeat after a lost reply recognises itself';

create index if not exists provisioning_keys_created_at_idx on provisioning_keys ((coalesce(created_at, 'infinity')), id);

-- GET /devices?search=…: the beginning of the uuid or of the name. The operators with ~ compare bytes, whatever the database's collation.
create index if not exists devices_name_idx on devices (lower(device_name) text_pattern_ops);
-- The unique index on uuid serves where its order is that of bytes, or of the type uuid.
do $$
declare
  is_uuid boolean;
  is_bytewise boolean;
begin
  select atttypid = 'uuid'::regtype, case when collname = 'default'
           -- From PostgreSQL 15 on, a database can have another provider.
           then datcollate in ('C', 'POSIX') and coalesce(to_jsonb(d) ->> 'datlocprovider', 'c') = 'c'
           else collname in ('C', 'POSIX') end
  into is_uuid, is_bytewise
  from pg_attribute left join pg_collation on pg_collation.oid = attcollation, pg_database d
  where attrelid = 'devices'::regclass and attname = 'uuid' and datname = current_database();
  if is_uuid then
    create or replace function berth_uuid_bound(prefix text, fill text) returns uuid language sql immutable parallel safe as
      'select berth_uuid(prefix || substr(translate(''00000000-0000-0000-0000-000000000000'', ''0'', fill), length(prefix) + 1))';
    create or replace function berth_uuid_begins(device_uuid uuid, prefix text) returns boolean language sql immutable parallel safe as
      'select device_uuid >= berth_uuid_bound(prefix, ''0'') and device_uuid <= berth_uuid_bound(prefix, ''f'')';
  elsif is_bytewise then
    -- No character of a uuid is after z.
    create or replace function berth_uuid_begins(device_uuid text, prefix text) returns boolean language sql immutable parallel safe as
      'select device_uuid >= prefix and device_uuid < prefix || ''~''';
  else
    create index if not exists devices_uuid_idx on devices (uuid text_pattern_ops);
    create or replace function berth_uuid_begins(device_uuid text, prefix text) returns boolean language sql immutable parallel safe as
      'select device_uuid ~>=~ prefix and device_uuid ~<~ (prefix || ''~'')';
  end if;
end $$;

-- What a device says of itself, besides the columns of the legacy service. The indexes have only devices that say it.
alter table devices
  add column if not exists region text,
  add column if not exists tags jsonb;
comment on column devices.tags is 'Names and values, as the device sent them: {"site": "berlin"}; NULL: none';
create index if not exists devices_region_idx on devices (region, id) where region is not null;
create index if not exists devices_tags_idx on devices using gin (tags jsonb_path_ops) where tags is not null;
-- EXECUTE plans for these tags. A prepared statement has one plan for all: then it reads the table for a rare tag, or fetches
-- all devices with a common one from the index.
create or replace function berth_tagged(wanted jsonb, most integer) returns setof integer language plpgsql stable rows 100 as $$
begin
  return query execute 'select id from devices where tags @> $1 limit $2' using wanted, most;
end $$;
