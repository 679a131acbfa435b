-- What the check of certificates has seen, so that a page can show what expires without connecting to brokers.

create table if not exists broker_certificates (
  broker_id  integer not null,
  of         text not null check (of in ('server', 'ca_cert', 'client_cert')),
  subject    text not null,
  expires_at timestamptz not null,
  seen_at    timestamptz not null default now(),
  primary key (broker_id, of, subject, expires_at)
);
comment on table broker_certificates is 'Written by lib/brokers/check-certificates.ts. Without foreign key: it would lock the broker';
comment on column broker_certificates.of is 'server: the broker presented it; otherwise the column of mqtt_broker_config that has it';
