-- A fleet's registrations queue for its key's row. In one statement with the rest each of them finds the row changed when its turn
-- comes and sets all of the statement up again to look at it anew; and who comes next is whoever is fastest. A
-- function of its own looks at the row when its turn has come, and this lock has an orderly queue.

create or replace function berth_claim_place(key uuid, current_hash text) returns boolean language plpgsql volatile as $$
begin
  perform pg_advisory_xact_lock(hashtextextended(key::text, 0));
  -- Volatile, read committed: the next statement sees what has been committed up to now.
  update provisioning_keys
  set devices_provisioned = coalesce(devices_provisioned, 0) + 1, last_used_at = now() at time zone 'utc', key_hash = current_hash
  where id = key and is_active and expires_at > now() at time zone 'utc' and coalesce(devices_provisioned, 0) < max_devices;
  return found;
end $$;
comment on function berth_claim_place is 'Takes a place on a provisioning key; false: there is none left, or the key has ended';
