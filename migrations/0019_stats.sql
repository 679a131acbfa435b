-- Numbers for operators, maintained by a schedule (functions/stats.ts): no request counts a million devices.

create table if not exists broker_counts (
  broker_id         integer primary key,
  assigned          integer not null,
  active_assigned   integer not null,
  resolved          integer not null,
  active            integer not null,
  following_default integer not null,
  behind            integer not null,
  counted_at        timestamptz not null
) with (fillfactor = 50);
comment on table broker_counts is 'One row per broker, written by lib/brokers/store-counts.ts. Without foreign key: it would lock the broker';
comment on column broker_counts.resolved is 'Devices that belong to the broker, whatever step decides; active: those of them that are active';
comment on column broker_counts.counted_at is 'When the count began: no number is older';

create table if not exists event_counts (
  resolution text not null check (resolution in ('minute', 'hour')),
  at         timestamptz not null,
  kind       text not null,
  code       text not null default '',
  events     integer not null,
  primary key (resolution, at, kind, code)
);
comment on table event_counts is 'Events by the minute or hour of their `at`. Minutes are kept for 48 hours, hours for 90 days';
comment on column event_counts.kind is 'registered, moved, refused';
comment on column event_counts.code is 'refused: the code of the problem';

-- Ids do not become visible in their order: a transaction that took a lower id may commit later. The mark is the highest id that
-- a run has seen, with the transactions that were writing events then. When all of these have ended, no event up to the mark can
-- appear any more. Who writes an event has its lock on the table before it takes an id.
create table if not exists event_counting (
  only_row     boolean primary key default true check (only_row),
  step         bigint not null default 0,
  counted_id   bigint not null,
  counted_at   timestamptz,
  marked_id    bigint not null,
  marked_at    timestamptz not null,
  writers      text[] not null default '{}',
  has_settled  boolean not null default false
) with (fillfactor = 50);
comment on table event_counting is 'The only row: how far event_counts goes';
comment on column event_counting.step is 'Rises with each change: a run that was overtaken changes nothing';
comment on column event_counting.counted_id is 'Every event up to this id is counted';
comment on column event_counting.counted_at is 'Every event committed before this time is counted; NULL: not all yet';
comment on column event_counting.writers is 'pg_locks.virtualtransaction of those that were writing events when the mark was set';
comment on column event_counting.has_settled is 'Whether a statement has seen that all of them have ended. Snapshots of later statements have all events up to the mark';

-- Begins at the first event: the history is counted, too. Of this first mark the writers are not known.
insert into event_counting (counted_id, marked_id, marked_at)
select id, id, now() from (select coalesce(min(id), 1) - 1 as id from device_events) first
on conflict do nothing;
