-- What operating brokers needs: columns for later policies of allocation, sealed secrets (the legacy
-- columns password_hash and client_key stay), and the lease that lets one connection test run at a time.

alter table mqtt_broker_config
  add column if not exists region text,
  add column if not exists allocation_weight integer not null default 100,
  add column if not exists password_sealed text,
  add column if not exists client_key_sealed text;
comment on column mqtt_broker_config.allocation_weight is '1 to 1000: its share of new devices under a policy that spreads them';
comment on column mqtt_broker_config.password_sealed is 'generation$iv$ciphertext$tag, AES-256-GCM; the legacy password_hash connects nobody';
comment on column mqtt_broker_config.client_key_sealed is 'as password_sealed; takes the place of client_key, which the legacy service filled with plain PEM';

do $$
begin
  if not exists (
    select from pg_constraint
    where conrelid = 'mqtt_broker_config'::regclass and conname = 'mqtt_broker_config_allocation_weight_check'
  ) then
    alter table mqtt_broker_config add constraint mqtt_broker_config_allocation_weight_check
      check (allocation_weight between 1 and 1000);
  end if;
end $$;

-- One row. Whoever tests a broker takes it until then; a test that dies gives it back by the clock.
create table if not exists broker_test_lease (
  id       integer primary key default 1,
  until    timestamptz not null default '-infinity',
  taken_by text,
  constraint broker_test_lease_one_row check (id = 1)
);
insert into broker_test_lease default values on conflict do nothing;
