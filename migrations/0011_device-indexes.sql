-- For the filters of lists and jobs that otherwise read most of the table to find few devices.
create index if not exists devices_device_type_idx on devices (device_type, id);
create index if not exists devices_inactive_idx on devices (id) where not coalesce(is_active, true);
