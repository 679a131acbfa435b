-- Bulk-assign jobs. A job is a row: what it is to do, how far it has come, who works on it until when.

create table if not exists bulk_assign_jobs (
  id               integer generated always as identity primary key,
  -- What makes it once: request:<id>, key:<Idempotency-Key>, schedule:<name>:<time>, revert:<job id>.
  once             text not null unique,
  request_hash     text,
  request_id       text not null,
  created_at       timestamptz not null default now(),
  created_by       text not null,
  state            text not null default 'queued'
    constraint bulk_assign_jobs_state_check check (state in ('queued', 'running', 'finished', 'failed', 'cancelled')),
  failure          text,
  started_at       timestamptz,
  last_batch_at    timestamptz,
  ended_at         timestamptz,
  filter           jsonb not null,
  target_broker_id integer,
  reverts_job_id   integer references bulk_assign_jobs (id),
  max_per_minute   integer,
  -- Where it started, is and ends: ids of devices, or of the reverted job's events.
  start_id         bigint not null,
  cursor_id        bigint not null,
  end_id           bigint not null,
  moved            integer not null default 0,
  skipped          integer not null default 0,
  batches          integer not null default 0,
  batch_size       integer not null default 2000,
  worker           text,
  next_batch_at    timestamptz not null default now(),
  leased_until     timestamptz not null default now()
);
comment on table bulk_assign_jobs is 'target_broker_id NULL: back to whatever the default broker is. No foreign key: the record outlives the broker';

create index if not exists bulk_assign_jobs_open_idx on bulk_assign_jobs (id) where state in ('queued', 'running');
create index if not exists bulk_assign_jobs_reverts_idx on bulk_assign_jobs (reverts_job_id);

alter table device_events add column if not exists job_id integer;
create index if not exists device_events_job_idx on device_events (job_id, id) where job_id is not null;

-- A move writes a new version of the row and of its index entries (mqtt_broker_id is indexed). Vacuum
-- after 2 % changed, not 20 %, so that the next batches and the next job find the room again.
alter table devices set (
  autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000,
  autovacuum_analyze_scale_factor = 0.05, autovacuum_vacuum_cost_limit = 1000
);
alter table device_events set (autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);
-- One row, written every batch.
alter table bulk_assign_jobs set (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);
