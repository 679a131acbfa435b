-- Leases: who may do something that only one process may do at a time, and until when.

create table if not exists leases (
  name   text primary key,
  holder text not null,
  epoch  bigint not null default 0,
  until  timestamptz not null
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);
comment on table leases is
  'epoch rises with every holder, so rows are never removed: an old holder must not get its epoch again. One small row per name, read by its key';

comment on table broker_test_lease is 'Used by the release before leases';
comment on column bulk_assign_jobs.worker is 'Used by the release before leases';
comment on column bulk_assign_jobs.leased_until is 'Used by the release before leases';
