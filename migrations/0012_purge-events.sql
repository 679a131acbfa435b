-- The only way for the functions' role to remove events. It removes none that is younger than 90 days, whatever `days` is.
create or replace function berth_purge_events(after_id bigint, days integer, size integer)
returns table (last_id bigint, purged integer, is_last boolean)
language sql security definer set search_path = pg_catalog, public, pg_temp as $$
  with expiry as (
    select now() - make_interval(days => greatest(90, days)) as at
  ), page as materialized (
    select id, at from device_events where id > after_id order by id limit size
  ), purged as (
    delete from device_events e
    using page, expiry
    where e.id = page.id and page.at < expiry.at
      -- A revert moves back what is still where the job put it.
      and not (
        e.type = 'moved' and e.job_id is not null
        and not exists (
          select from bulk_assign_jobs revert where revert.reverts_job_id = e.job_id and revert.state = 'finished')
        and exists (
          select from devices d where d.id = e.device_id and d.mqtt_broker_id is not distinct from e.to_broker_id))
    returning e.id
  )
  select max(page.id), (select count(*)::integer from purged),
         -- Ids grow with time: behind a page without an expired event there is none.
         count(*) < size or min(page.at) >= (select at from expiry)
  from page
$$;
comment on function berth_purge_events is
  'Removes expired events among the next `size` after `after_id`, except those that the revert of a job needs';
revoke execute on function berth_purge_events from public;
