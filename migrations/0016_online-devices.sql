-- For GET /devices?online=true. Only the legacy service writes is_online, so where it no longer runs, the index is small.
create index if not exists devices_online_idx on devices (id) where is_online;
