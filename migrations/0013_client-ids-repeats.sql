-- In MQTT, a client with the same client id takes over another client's session, and RabbitMQ names queues by client id alone.
create or replace function berth_client_ids(username text, device_uuid text, prefix text) returns text[]
language sql immutable parallel safe as $$
  -- A username of the legacy service can contain another spelling of the uuid.
  select array[username] || case when device_uuid is not null then array[
    coalesce(prefix, 'berth') || '_' || device_uuid, coalesce(prefix, 'berth') || '_' || substr(username, 8)] end
$$;
comment on function berth_client_ids is
  'The MQTT client ids that a user may use: its username, and for a device also the prefix of its broker and the uuid';

create or replace view mqtt_broker_users as
select u.username, u.password_hash, u.is_superuser, u.device_uuid, b.id as broker_id, b.client_id_prefix,
       resolved.source as broker_source, berth_client_ids(u.username, u.device_uuid, b.client_id_prefix) as client_ids
from mqtt_device_users u
left join lateral (
  select step.broker_id, step.source
  from berth_resolve(u.device_uuid, u.assigned_broker_id, u.provisioned_by_key_id, false) step
  where step.usable
  order by step.number
  limit 1
) resolved on u.device_uuid is not null
left join mqtt_broker_config b on b.id = resolved.broker_id;

create or replace function berth_has_recorded(device text, request text) returns boolean language plpgsql volatile as $$
begin
  -- Volatile, read committed: it sees what was committed while the statement waited for a lock.
  return exists (select from device_events where device_uuid = device and job_id is null and request_id = request);
end $$;
comment on function berth_has_recorded is
  'Whether a request has changed the device: an earlier attempt of its statement was committed, and the reply was lost';
