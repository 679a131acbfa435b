-- For operators who keep what they used with the legacy service: its filter of the list, and SQL by hand.

-- For GET /devices?online=true. Only the legacy service writes is_online, so where it no longer runs, the index is small.
create index if not exists devices_online_idx on devices (id) where is_online;

-- A move by `update devices set mqtt_broker_id = …` gets what a move by Berth gets: an event, the time, and the broker that the
-- device was handed keeps accepting it (leaveBroker in lib/resolution/leave.ts). Works for every role that may update devices.
create or replace function berth_record_move() returns trigger
language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
declare
  handed integer := new.handed_broker_id;
  left_at timestamptz := new.handed_left_at;
begin
  if handed is null and new.handed_at is null then
    handed := berth_presumed_broker(
      old.uuid::text, old.mqtt_broker_id, old.provisioned_by_key_id, coalesce(old.provisioned_at, old.created_at));
  end if;
  if coalesce(old.handed_broker_id = coalesce(old.mqtt_broker_id,
      (select b.id from mqtt_broker_config b where b.is_default)), true) then
    left_at := now();
  end if;
  update devices
  set mqtt_broker_assigned_at = now(), modified_at = berth_now(), handed_broker_id = handed, handed_left_at = left_at
  where id = new.id;
  insert into device_events (type, device_uuid, device_id, fleet_id, from_broker_id, to_broker_id, actor)
  values ('moved', new.uuid::text, new.id, new.fleet_id, old.mqtt_broker_id, new.mqtt_broker_id, 'sql:' || session_user);
  return null;
end $$;
revoke execute on function berth_record_move() from public;

-- Berth's own statements set mqtt_broker_assigned_at and record the move. AFTER, although it updates the row again: a BEFORE
-- trigger locks each row of every update of the table, which costs a bulk-assign job 6 % of the server's time.
create or replace trigger berth_record_move after update of mqtt_broker_id on devices for each row
  when (new.mqtt_broker_id is distinct from old.mqtt_broker_id
    and new.mqtt_broker_assigned_at is not distinct from old.mqtt_broker_assigned_at)
  execute function berth_record_move();
