-- The types of lib/events/record.ts. NOT VALID: rows from before are not read again, new rows are checked.
alter table device_events drop constraint if exists device_events_type_check;
alter table device_events add constraint device_events_type_check check (type in (
  'registered', 'refused', 'moved', 'skipped', 'updated', 'activated', 'deactivated', 'credentials-renewed',
  'credentials-revoked', 'deleted'
)) not valid;
