-- For operators: changes of provisioning keys, pages of all keys, and the devices that follow a key.

alter table provisioning_keys
  add column if not exists updated_at timestamptz,
  add column if not exists updated_by text,
  add column if not exists updated_request_id text;
comment on column provisioning_keys.updated_at is 'When an operator last changed it';
comment on column provisioning_keys.updated_request_id is 'By which request: a repeat after a lost reply recognises itself';

create index if not exists provisioning_keys_created_at_idx on provisioning_keys ((coalesce(created_at, 'infinity')), id);
-- Devices without an assignment, for which their key can decide. Moves between brokers do not touch it.
create index if not exists devices_unassigned_key_idx on devices (provisioned_by_key_id) where mqtt_broker_id is null;
