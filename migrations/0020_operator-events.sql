-- The history of operators: who changed which broker, provisioning key or job.

create table if not exists operator_events (
  -- From the numbers of device_events: the two together are one list in the order of time.
  id          bigint primary key default nextval('device_events_id_seq'),
  at          timestamptz not null default now(),
  type        text not null,
  target_kind text not null,
  target_id   text not null,
  target_name text,
  before      jsonb,
  after       jsonb,
  actor       text,
  reason      text,
  source_ip   text,
  request_id  text,
  -- The types of lib/events/record.ts.
  constraint operator_events_type_check check (type in (
    'broker-created', 'broker-changed', 'default-changed', 'broker-deleted', 'broker-tested',
    'key-issued', 'key-changed', 'key-revoked', 'job-created', 'job-cancelled', 'job-resumed')),
  constraint operator_events_target_kind_check check (target_kind in ('broker', 'key', 'job'))
);
comment on table operator_events is 'What operators and schedules did with brokers, provisioning keys and jobs. Append-only';
comment on column operator_events.target_name is 'Its name then';
comment on column operator_events.before is 'The members that differ, as they were; NULL: it did not exist, or nothing of it changed';
comment on column operator_events.after is 'The same members afterwards; of a test, the result; NULL: it does not exist any more';

create index if not exists operator_events_target_idx on operator_events (target_kind, target_id, id);
create index if not exists operator_events_type_idx on operator_events (type, id);
create index if not exists operator_events_actor_idx on operator_events (actor, id);

create or replace function berth_differences(one jsonb, other jsonb) returns jsonb language sql immutable parallel safe as $$
  -- A member that is missing counts as null. What is longer than a page of history can show becomes its hash.
  select jsonb_object_agg(key, case
    when length(value::text) > 1000 then to_jsonb('sha256:' || encode(sha256(convert_to(value::text, 'UTF8')), 'hex'))
    else value end)
  from jsonb_each(one)
  where value is distinct from coalesce(other -> key, 'null')
$$;
comment on function berth_differences is 'The members of `one` that are not the same in `other`; NULL: none';

create or replace function berth_has_recorded_change(kind text, target text, request text) returns boolean
language plpgsql volatile as $$
begin
  -- Volatile, read committed: it sees what was committed while the statement waited for a lock.
  return exists (
    select from operator_events where target_kind = kind and target_id = target and request_id = request);
end $$;
comment on function berth_has_recorded_change is
  'Whether a request has changed the target: an earlier attempt of its statement was committed, and the reply was lost';

-- The only way for the functions' role to remove these events. It removes none that is younger than a year, whatever `days` is.
create or replace function berth_purge_operator_events(days integer, size integer) returns integer
language sql security definer set search_path = pg_catalog, public, pg_temp as $$
  with purged as (
    delete from operator_events
    where id in (
      select id from (select id, at from operator_events order by id limit size) oldest
      where at < now() - make_interval(days => greatest(365, days)))
    returning id
  )
  select count(*)::integer from purged
$$;
comment on function berth_purge_operator_events is 'Removes expired events among the `size` oldest';
revoke execute on function berth_purge_operator_events from public;
