-- The resolution: which broker a device belongs to, and why. This is the only place that contains the order of the steps.

-- Legacy columns hold UTC without a time zone.
create or replace function berth_now() returns timestamp language sql stable parallel safe as
  $$ select now() at time zone 'utc' $$;
comment on function berth_now is 'Now in UTC without a time zone, as the legacy columns hold it';

alter table mqtt_broker_config add column if not exists refusal text generated always as (
  case when is_active is not true then 'inactive' when not accepts_new_devices then 'draining' end
) stored;
comment on column mqtt_broker_config.refusal is
  'Why the broker takes no new devices: inactive, draining; NULL: it takes them. An inactive broker serves nobody, a draining one keeps its devices';

-- Inlined into the calling query as long as it is one SELECT, stable and not strict, and no argument is a subquery. Call it
-- as `device cross join lateral berth_resolve(device.uuid::text, …)`; the usable row with the lowest number decides.
-- device_uuid is not used yet: steps that spread devices over brokers need it.
create or replace function berth_resolve(device_uuid text, assigned_broker integer, provisioning_key uuid, is_new boolean)
returns table (number integer, source text, broker_id integer, usable boolean, skip_reason text, connect_after_ms integer)
language sql stable parallel safe as $$
  select step.number, step.source, step.broker_id, skip.reason is null, skip.reason, 0
  from (values
    (1, 'device', assigned_broker),
    (2, 'provisioning_key', (select k.default_broker_id from provisioning_keys k where k.id = provisioning_key)),
    (3, 'default', (select b.id from mqtt_broker_config b where b.is_default))
  ) step (number, source, broker_id)
  left join mqtt_broker_config broker on broker.id = step.broker_id
  cross join lateral (
    select case
      when step.broker_id is null then 'none'
      when broker.id is null then 'missing'
      when broker.refusal = 'inactive' or is_new then broker.refusal
    end
  ) skip (reason)
$$;
comment on function berth_resolve is
  'The steps of a device''s resolution. skip_reason: none (the step names no broker), missing, inactive, draining; NULL: usable';

-- Inlined too: at most one row, the step that decides.
create or replace function berth_resolved(device_uuid text, assigned_broker integer, provisioning_key uuid, is_new boolean)
returns table (source text, broker_id integer) language sql stable parallel safe as $$
  select step.source, step.broker_id
  from berth_resolve(device_uuid, assigned_broker, provisioning_key, is_new) step
  where step.usable
  order by step.number
  limit 1
$$;
comment on function berth_resolved is 'The broker that a device resolves to, and the step that decided. No row: no step is usable';

-- What a client's connection settings are made of (BrokerRow in lib/resolution/broker-row.ts): no password, no private key.
-- settings_hash changes with what a client sees, so a NULL counts as the default that it stands for.
create or replace function berth_client_settings(
  id integer, name text, protocol text, host text, port integer, use_tls boolean, verify_certificate boolean, client_id_prefix text,
  keep_alive integer, clean_session boolean, reconnect_period integer, connect_timeout integer, ca_cert text
) returns json language sql immutable parallel safe as $$
  select json_build_object(
    'id', id, 'name', name, 'protocol', protocol, 'host', host, 'port', port, 'use_tls', use_tls,
    'verify_certificate', verify_certificate, 'client_id_prefix', client_id_prefix, 'keep_alive', keep_alive,
    'clean_session', clean_session, 'reconnect_period', reconnect_period, 'connect_timeout', connect_timeout, 'ca_cert', ca_cert,
    'settings_hash', left(md5(
      protocol || E'\n' || host || E'\n' || port || E'\n' || coalesce(use_tls, false) || E'\n'
      || coalesce(verify_certificate, true) || E'\n' || coalesce(client_id_prefix, 'berth') || E'\n'
      || coalesce(keep_alive, 60) || E'\n' || coalesce(clean_session, true) || E'\n' || coalesce(reconnect_period, 1000)
      || E'\n' || coalesce(connect_timeout, 30000) || E'\n' || coalesce(ca_cert, '')), 8))
$$;
-- Stored, because building it for each registration costs 2 % of the server's time.
alter table mqtt_broker_config add column if not exists client_settings json generated always as (berth_client_settings(
  id, name, protocol, host, port, use_tls, verify_certificate, client_id_prefix,
  keep_alive, clean_session, reconnect_period, connect_timeout, ca_cert)) stored;
alter table mqtt_broker_config add column if not exists settings_hash text generated always as (berth_client_settings(
  id, name, protocol, host, port, use_tls, verify_certificate, client_id_prefix,
  keep_alive, clean_session, reconnect_period, connect_timeout, ca_cert) ->> 'settings_hash') stored;
comment on column mqtt_broker_config.client_settings is 'What a client''s connection settings are made of';
comment on column mqtt_broker_config.settings_hash is 'Changes with what a client sees of the broker';

-- A uuid as RFC 4122 spells it. The legacy service accepted upper case, braces and no dashes, and kept them in MQTT usernames.
create or replace function berth_canonical_uuid(spelling text) returns text language sql immutable parallel safe as $$
  select regexp_replace(lower(translate(spelling, '{}-', '')),
    '^([0-9a-f]{8})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{12})$', '\1-\2-\3-\4-\5')
$$;

-- Whether all spellings of a uuid are the same device. The type uuid accepts all of them; text tells them apart.
do $$
begin
  if (select data_type from information_schema.columns
      where table_schema = current_schema() and table_name = 'devices' and column_name = 'uuid') = 'uuid' then
    create or replace function berth_ties_spellings() returns boolean language sql immutable parallel safe as 'select true';
  else
    create or replace function berth_ties_spellings() returns boolean language sql immutable parallel safe as 'select false';
  end if;
end $$;

-- MQTT users that may connect, and the device that each belongs to. The device is found by its uuid, which is indexed.
-- Legacy rows do not name their user (mqtt_username is NULL). The reverse is berth_mqtt_usernames.
create or replace view mqtt_device_users as
select u.username, u.password_hash, coalesce(u.is_superuser, false) as is_superuser, d.uuid::text as device_uuid,
       d.mqtt_broker_id as assigned_broker_id, d.provisioned_by_key_id
from mqtt_users u
left join devices d
  on d.uuid in (berth_uuid(substr(u.username, 8)), berth_uuid(berth_canonical_uuid(substr(u.username, 8))))
  and (u.username in (d.mqtt_username, 'device_' || d.uuid::text)
       or berth_ties_spellings() and starts_with(u.username, 'device_'))
where coalesce(u.is_active, true) and coalesce(d.is_active, true);
comment on view mqtt_device_users is 'device_uuid NULL: the user belongs to no device';

-- In MQTT, a client with the same client id takes over another client's session, and RabbitMQ names queues by client id alone.
create or replace function berth_client_ids(username text, device_uuid text, prefix text) returns text[]
language sql immutable parallel safe as $$
  -- A username of the legacy service can contain another spelling of the uuid.
  select array[username] || case when device_uuid is not null then array[
    coalesce(prefix, 'berth') || '_' || device_uuid, coalesce(prefix, 'berth') || '_' || substr(username, 8)] end
$$;
comment on function berth_client_ids is
  'The MQTT client ids that a user may use: its username, and for a device also the prefix of its broker and the uuid';

-- The same with the broker that the device belongs to: what brokers read.
do $$
begin
  -- As 0015 makes it: a migration may run again.
  if exists (select from pg_attribute where attrelid = to_regclass('mqtt_broker_users') and attname = 'ends_former') then
    return;
  end if;
  create or replace view mqtt_broker_users as
  select u.username, u.password_hash, u.is_superuser, u.device_uuid, b.id as broker_id, b.client_id_prefix,
         resolved.source as broker_source, berth_client_ids(u.username, u.device_uuid, b.client_id_prefix) as client_ids
  from mqtt_device_users u
  left join lateral berth_resolved(u.device_uuid, u.assigned_broker_id, u.provisioned_by_key_id, false) resolved
    on u.device_uuid is not null
  left join mqtt_broker_config b on b.id = resolved.broker_id;
exception
  when insufficient_privilege or invalid_table_definition then
    raise exception 'The view mqtt_broker_users was created by hand and cannot be replaced: %', sqlerrm
      using hint = 'Drop it together with the views that use it, migrate, then create those views again from docs/brokers.md.';
end $$;
comment on view mqtt_broker_users is 'broker_id NULL: the user belongs to no device, or no broker resolves for it';

-- An inlined function reads its tables with the rights of whoever queries the view. Roles that read a view created by hand
-- get the columns that berth_resolve reads; docs/brokers.md grants them to new roles.
do $$
declare
  reader record;
begin
  for reader in
    select distinct case when acl.grantee = 0 then 'public' else quote_ident(pg_get_userbyid(acl.grantee)) end as name
    from pg_class view, aclexplode(view.relacl) acl
    where view.oid = 'mqtt_broker_users'::regclass and acl.privilege_type = 'SELECT' and acl.grantee <> view.relowner
  loop
    execute format('grant select (id, default_broker_id) on provisioning_keys to %s', reader.name);
    execute format('grant select (id, is_default, refusal) on mqtt_broker_config to %s', reader.name);
  end loop;
end $$;
