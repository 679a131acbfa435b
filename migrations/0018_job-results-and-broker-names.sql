-- What the replies of bulk-assign jobs say, and the names of deleted brokers.

alter table bulk_assign_jobs
  add column if not exists reason text,
  add column if not exists unknown jsonb,
  add column if not exists already_there integer not null default 0,
  add column if not exists idle_ms bigint not null default 0;
comment on column bulk_assign_jobs.reason is 'Why, in the words of who created the job';
comment on column bulk_assign_jobs.unknown is 'The values of the filter that nothing had when the job was created';
comment on column bulk_assign_jobs.already_there is 'Devices that resolved to the target before: they did not move';
comment on column bulk_assign_jobs.idle_ms is 'Time since started_at in which no worker had the job: cancelled, failed, or between two workers';

-- Events have the ids of brokers. A broker that is deleted leaves its name here.
create table if not exists deleted_brokers (
  id         integer primary key,
  name       text not null,
  deleted_at timestamptz not null default now()
);
comment on table deleted_brokers is 'The name that a broker had when it was deleted';

-- A trigger, because the legacy service and people with SQL delete brokers too. With the rights of its owner: they have none here.
create or replace function berth_keep_broker_name() returns trigger language plpgsql security definer
set search_path = pg_catalog, public, pg_temp as $$
begin
  insert into deleted_brokers (id, name) values (old.id, old.name)
  on conflict (id) do update set name = excluded.name, deleted_at = excluded.deleted_at;
  return null;
end $$;
create or replace trigger berth_keep_broker_name after delete on mqtt_broker_config
  for each row execute function berth_keep_broker_name();
