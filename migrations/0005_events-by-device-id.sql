-- What jobs did is found by the device's id, in whose order they go: in an index of uuids, which are random, every
-- row of a job lands on another page. All else is still found by the uuid, which outlives the device.

alter table device_events add column if not exists device_id integer;
comment on column device_events.device_id is 'Set by jobs and when the device is deleted: a uuid that registers again has a new one';

update device_events e set device_id = d.id
from devices d
where d.uuid::text = e.device_uuid and e.job_id is not null and e.device_id is null;

drop index if exists device_events_device_idx;
create index if not exists device_events_uuid_idx on device_events (device_uuid, id) where job_id is null;
create index if not exists device_events_device_id_idx on device_events (device_id, id) where job_id is not null;
