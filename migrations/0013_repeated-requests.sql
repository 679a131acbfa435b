-- A statement that is repeated after a lost reply recognises its own earlier attempt.
create or replace function berth_has_recorded(device text, request text) returns boolean language plpgsql volatile as $$
begin
  -- Volatile, read committed: it sees what was committed while the statement waited for a lock.
  return exists (select from device_events where device_uuid = device and job_id is null and request_id = request);
end $$;
comment on function berth_has_recorded is
  'Whether a request has changed the device: an earlier attempt of its statement was committed, and the reply was lost';
