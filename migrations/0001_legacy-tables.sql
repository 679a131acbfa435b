-- The tables as the legacy service left them. On its own database every statement here finds its
-- table and does nothing; on a fresh one it makes the same columns. What differs when fresh: devices.uuid
-- is text (identifiers such as test-123 are in use), and the MQTT usernames and topics made from it have
-- room for one of 255 characters.

create table if not exists provisioning_keys (
  id                  uuid primary key default gen_random_uuid(),
  key_hash            varchar(255) not null,
  fleet_id            varchar(100) not null,
  description         text,
  max_devices         integer default 100,
  devices_provisioned integer default 0,
  expires_at          timestamp not null,
  is_active           boolean default true,
  created_at          timestamp default (now() at time zone 'utc'),
  created_by          varchar(255),
  last_used_at        timestamp
);

create table if not exists mqtt_broker_config (
  id                 serial primary key,
  name               varchar(255) not null,
  description        text,
  protocol           varchar(10) not null default 'mqtt',
  host               varchar(255) not null,
  port               integer not null,
  username           varchar(255),
  password_hash      varchar(255),
  use_tls            boolean default false,
  ca_cert            text,
  client_cert        text,
  client_key         text,
  verify_certificate boolean default true,
  client_id_prefix   varchar(100) default 'berth',
  keep_alive         integer default 60,
  clean_session      boolean default true,
  reconnect_period   integer default 1000,
  connect_timeout    integer default 30000,
  is_active          boolean default true,
  is_default         boolean default false,
  broker_type        varchar(50) default 'local',
  extra_config       jsonb default '{}'::jsonb,
  created_at         timestamp default (now() at time zone 'utc'),
  updated_at         timestamp default (now() at time zone 'utc'),
  last_connected_at  timestamp,
  constraint mqtt_broker_config_protocol_check check (protocol in ('mqtt', 'mqtts', 'ws', 'wss')),
  constraint mqtt_broker_config_port_check check (port between 1 and 65535)
);

create table if not exists devices (
  id                       serial primary key,
  uuid                     text not null,
  device_name              varchar(255),
  device_type              varchar(100),
  is_online                boolean default false,
  is_active                boolean default true,
  last_connectivity_event  timestamp,
  last_vpn_event           timestamp,
  ip_address               inet,
  mac_address              varchar(17),
  os_version               varchar(100),
  supervisor_version       varchar(100),
  api_heartbeat_state      varchar(50) default 'online',
  memory_usage             bigint,
  memory_total             bigint,
  storage_usage            bigint,
  storage_total            bigint,
  cpu_usage                numeric,
  cpu_temp                 numeric,
  cpu_id                   varchar(100),
  is_undervolted           boolean default false,
  provisioning_progress    integer,
  provisioning_state       varchar(50),
  status                   varchar(50) default 'idle',
  download_progress        integer,
  logs_channel             varchar(255),
  created_at               timestamp default (now() at time zone 'utc'),
  modified_at              timestamp default (now() at time zone 'utc'),
  fleet_id                 varchar(100),
  provisioned_at           timestamp,
  provisioned_by_key_id    uuid,
  device_api_key_hash      varchar(255),
  api_key_expires_at       timestamp,
  api_key_last_rotated_at  timestamp,
  api_key_rotation_enabled boolean default true,
  api_key_rotation_days    integer default 90,
  top_processes            jsonb default '[]'::jsonb,
  mqtt_username            varchar(300),
  mqtt_client_id           varchar(255),
  mqtt_broker_id           integer
);

create table if not exists mqtt_users (
  id            serial primary key,
  username      varchar(300) not null,
  password_hash varchar(255) not null,
  is_superuser  boolean default false,
  is_active     boolean default true,
  created_at    timestamp default (now() at time zone 'utc'),
  updated_at    timestamp default (now() at time zone 'utc')
);

create table if not exists mqtt_acls (
  id         serial primary key,
  username   varchar(300),
  clientid   varchar(255),
  topic      varchar(300) not null,
  access     integer not null,
  priority   integer default 0,
  created_at timestamp default (now() at time zone 'utc'),
  constraint mqtt_acls_access_check check (access between 1 and 7)
);

-- Names that the legacy database already uses for the same thing are found and left alone.
create unique index if not exists devices_uuid_key on devices (uuid);
create unique index if not exists mqtt_users_username_key on mqtt_users (username);
create unique index if not exists mqtt_broker_config_name_key on mqtt_broker_config (name);
