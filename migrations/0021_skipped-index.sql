-- outside a transaction: device_events is big

-- A job skips few devices among many. Registrations are not in it.
create index concurrently if not exists device_events_skipped_idx on device_events (job_id, id) where type = 'skipped';
