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

-- Why a broker accepts a device that does not resolve to it: handed, former. NULL: it does not. The rule of 0015, as a function that is
-- inlined, so that a broker's devices can be counted without a look at every broker.
create or replace function berth_former_reason(
  broker integer, closed_to_former_at timestamptz, default_until timestamptz, assigned integer, assigned_at timestamptz,
  registered timestamp, handed integer, handed_at timestamptz, handed_left_at timestamptz, former integer[],
  former_until timestamptz, former_closed_at timestamptz
) returns text language sql stable parallel safe as $$
  select case
    when broker = handed then
      case when greatest(closed_to_former_at, former_closed_at) >= coalesce(greatest(
             handed_at, handed_left_at,
             -- Followers of the default leave it without a write to their rows.
             case when assigned is null and coalesce(assigned_at, '-infinity') < default_until
                  then default_until end), '-infinity') then null
           else 'handed' end
    when broker = any(former) and former_until > now() and coalesce(closed_to_former_at < handed_at, true) then 'former'
    -- Not known yet: every default of the time since it registered.
    when handed is null and handed_at is null and default_until > coalesce(registered, '-infinity') at time zone 'utc'
      and coalesce(greatest(closed_to_former_at, former_closed_at) < default_until, true) then 'handed'
  end
$$;

create or replace view mqtt_device_brokers as
select d.id as device_id, d.uuid, accepting.broker_id, accepting.source, accepting.reason,
       d.former_broker_ids is not null and accepting.broker_id = d.handed_broker_id as ends_former
from devices d
left join lateral berth_resolved(d.uuid::text, d.mqtt_broker_id, d.provisioned_by_key_id, false) resolved on true
cross join lateral (
  select resolved.broker_id, resolved.source, 'resolved'::text as reason
  union all
  select b.id, null, why.reason
  from mqtt_broker_config b
  cross join lateral (
    select berth_former_reason(
      b.id, b.closed_to_former_at, b.default_until, d.mqtt_broker_id, d.mqtt_broker_assigned_at,
      coalesce(d.provisioned_at, d.created_at), d.handed_broker_id, d.handed_at, d.handed_left_at, d.former_broker_ids,
      d.former_until, d.former_closed_at)
  ) why (reason)
  where (d.handed_broker_id is distinct from resolved.broker_id or d.former_broker_ids is not null)
    and b.id is distinct from resolved.broker_id and b.refusal is distinct from 'inactive' and why.reason is not null
) accepting;
