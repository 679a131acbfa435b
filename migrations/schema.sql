-- Generated from a fresh, migrated database by `npm run generate:schema`: read it, do not run it.

-- columns
broker_certificates.broker_id integer not null
broker_certificates.of text not null
broker_certificates.subject text not null
broker_certificates.expires_at timestamp with time zone not null
broker_certificates.seen_at timestamp with time zone not null default now()
broker_counts.broker_id integer not null
broker_counts.assigned integer not null
broker_counts.active_assigned integer not null
broker_counts.resolved integer not null
broker_counts.active integer not null
broker_counts.following_default integer not null
broker_counts.behind integer not null
broker_counts.counted_at timestamp with time zone not null
broker_test_lease.id integer not null default 1
broker_test_lease.until timestamp with time zone not null default '-infinity'::timestamp with time zone
broker_test_lease.taken_by text
bulk_assign_jobs.id integer not null
bulk_assign_jobs.once text not null
bulk_assign_jobs.request_hash text
bulk_assign_jobs.request_id text not null
bulk_assign_jobs.created_at timestamp with time zone not null default now()
bulk_assign_jobs.created_by text not null
bulk_assign_jobs.state text not null default 'queued'::text
bulk_assign_jobs.failure text
bulk_assign_jobs.started_at timestamp with time zone
bulk_assign_jobs.last_batch_at timestamp with time zone
bulk_assign_jobs.ended_at timestamp with time zone
bulk_assign_jobs.filter jsonb not null
bulk_assign_jobs.target_broker_id integer
bulk_assign_jobs.reverts_job_id integer
bulk_assign_jobs.max_per_minute integer
bulk_assign_jobs.start_id bigint not null
bulk_assign_jobs.cursor_id bigint not null
bulk_assign_jobs.end_id bigint not null
bulk_assign_jobs.moved integer not null default 0
bulk_assign_jobs.skipped integer not null default 0
bulk_assign_jobs.batches integer not null default 0
bulk_assign_jobs.batch_size integer not null default 2000
bulk_assign_jobs.worker text
bulk_assign_jobs.next_batch_at timestamp with time zone not null default now()
bulk_assign_jobs.leased_until timestamp with time zone not null default now()
bulk_assign_jobs.close_former boolean not null default false
bulk_assign_jobs.reason text
bulk_assign_jobs.unknown jsonb
bulk_assign_jobs.already_there integer not null default 0
bulk_assign_jobs.idle_ms bigint not null default 0
deleted_brokers.id integer not null
deleted_brokers.name text not null
deleted_brokers.deleted_at timestamp with time zone not null default now()
device_events.id bigint not null
device_events.at timestamp with time zone not null default now()
device_events.type text not null
device_events.device_uuid text
device_events.fleet_id text
device_events.actor text
device_events.reason text
device_events.from_broker_id integer
device_events.to_broker_id integer
device_events.source_ip text
device_events.request_id text
device_events.job_id integer
device_events.device_id integer
devices.id integer not null default nextval('devices_id_seq'::regclass)
devices.uuid text not null
devices.device_name character varying(255)
devices.device_type character varying(100)
devices.is_online boolean default false
devices.is_active boolean default true
devices.last_connectivity_event timestamp without time zone
devices.last_vpn_event timestamp without time zone
devices.ip_address inet
devices.mac_address character varying(17)
devices.os_version character varying(100)
devices.supervisor_version character varying(100)
devices.api_heartbeat_state character varying(50) default 'online'::character varying
devices.memory_usage bigint
devices.memory_total bigint
devices.storage_usage bigint
devices.storage_total bigint
devices.cpu_usage numeric
devices.cpu_temp numeric
devices.cpu_id character varying(100)
devices.is_undervolted boolean default false
devices.provisioning_progress integer
devices.provisioning_state character varying(50)
devices.status character varying(50) default 'idle'::character varying
devices.download_progress integer
devices.logs_channel character varying(255)
devices.created_at timestamp without time zone default (now() AT TIME ZONE 'utc'::text)
devices.modified_at timestamp without time zone default (now() AT TIME ZONE 'utc'::text)
devices.fleet_id character varying(100)
devices.provisioned_at timestamp without time zone
devices.provisioned_by_key_id uuid
devices.device_api_key_hash character varying(255)
devices.api_key_expires_at timestamp without time zone
devices.api_key_last_rotated_at timestamp without time zone
devices.api_key_rotation_enabled boolean default true
devices.api_key_rotation_days integer default 90
devices.top_processes jsonb default '[]'::jsonb
devices.mqtt_username character varying(300)
devices.mqtt_client_id character varying(255)
devices.mqtt_broker_id integer
devices.mqtt_password_salt text
devices.mqtt_broker_assigned_at timestamp with time zone
devices.handed_broker_id integer
devices.handed_settings text
devices.handed_at timestamp with time zone
devices.handed_left_at timestamp with time zone
devices.former_broker_ids integer[]
devices.former_until timestamp with time zone
devices.former_closed_at timestamp with time zone
devices.region text
devices.tags jsonb
event_counting.only_row boolean not null default true
event_counting.step bigint not null default 0
event_counting.counted_id bigint not null
event_counting.counted_at timestamp with time zone
event_counting.marked_id bigint not null
event_counting.marked_at timestamp with time zone not null
event_counting.writers text[] not null default '{}'::text[]
event_counting.has_settled boolean not null default false
event_counts.resolution text not null
event_counts.at timestamp with time zone not null
event_counts.kind text not null
event_counts.code text not null default ''::text
event_counts.events integer not null
leases.name text not null
leases.holder text not null
leases.epoch bigint not null default 0
leases.until timestamp with time zone not null
mqtt_acls.id integer not null default nextval('mqtt_acls_id_seq'::regclass)
mqtt_acls.username character varying(300)
mqtt_acls.clientid character varying(255)
mqtt_acls.topic character varying(300) not null
mqtt_acls.access integer not null
mqtt_acls.priority integer default 0
mqtt_acls.created_at timestamp without time zone default (now() AT TIME ZONE 'utc'::text)
mqtt_broker_config.id integer not null default nextval('mqtt_broker_config_id_seq'::regclass)
mqtt_broker_config.name character varying(255) not null
mqtt_broker_config.description text
mqtt_broker_config.protocol character varying(10) not null default 'mqtt'::character varying
mqtt_broker_config.host character varying(255) not null
mqtt_broker_config.port integer not null
mqtt_broker_config.username character varying(255)
mqtt_broker_config.password_hash character varying(255)
mqtt_broker_config.use_tls boolean default false
mqtt_broker_config.ca_cert text
mqtt_broker_config.client_cert text
mqtt_broker_config.client_key text
mqtt_broker_config.verify_certificate boolean default true
mqtt_broker_config.client_id_prefix character varying(100) default 'berth'::character varying
mqtt_broker_config.keep_alive integer default 60
mqtt_broker_config.clean_session boolean default true
mqtt_broker_config.reconnect_period integer default 1000
mqtt_broker_config.connect_timeout integer default 30000
mqtt_broker_config.is_active boolean default true
mqtt_broker_config.is_default boolean default false
mqtt_broker_config.broker_type character varying(50) default 'local'::character varying
mqtt_broker_config.extra_config jsonb default '{}'::jsonb
mqtt_broker_config.created_at timestamp without time zone default (now() AT TIME ZONE 'utc'::text)
mqtt_broker_config.updated_at timestamp without time zone default (now() AT TIME ZONE 'utc'::text)
mqtt_broker_config.last_connected_at timestamp without time zone
mqtt_broker_config.accepts_new_devices boolean not null default true
mqtt_broker_config.region text
mqtt_broker_config.allocation_weight integer not null default 100
mqtt_broker_config.password_sealed text
mqtt_broker_config.client_key_sealed text
mqtt_broker_config.refusal text default 
CASE
    WHEN (is_active IS NOT TRUE) THEN 'inactive'::text
    WHEN (NOT accepts_new_devices) THEN 'draining'::text
    ELSE NULL::text
END
mqtt_broker_config.client_settings json default berth_client_settings(id, (name)::text, (protocol)::text, (host)::text, port, use_tls, verify_certificate, (client_id_prefix)::text, keep_alive, clean_session, reconnect_period, connect_timeout, ca_cert)
mqtt_broker_config.settings_hash text default (berth_client_settings(id, (name)::text, (protocol)::text, (host)::text, port, use_tls, verify_certificate, (client_id_prefix)::text, keep_alive, clean_session, reconnect_period, connect_timeout, ca_cert) ->> 'settings_hash'::text)
mqtt_broker_config.default_until timestamp with time zone
mqtt_broker_config.former_client_id_prefixes text[]
mqtt_broker_config.closed_to_former_at timestamp with time zone
mqtt_users.id integer not null default nextval('mqtt_users_id_seq'::regclass)
mqtt_users.username character varying(300) not null
mqtt_users.password_hash character varying(255) not null
mqtt_users.is_superuser boolean default false
mqtt_users.is_active boolean default true
mqtt_users.created_at timestamp without time zone default (now() AT TIME ZONE 'utc'::text)
mqtt_users.updated_at timestamp without time zone default (now() AT TIME ZONE 'utc'::text)
operator_events.id bigint not null default nextval('device_events_id_seq'::regclass)
operator_events.at timestamp with time zone not null default now()
operator_events.type text not null
operator_events.target_kind text not null
operator_events.target_id text not null
operator_events.target_name text
operator_events.before jsonb
operator_events.after jsonb
operator_events.actor text
operator_events.reason text
operator_events.source_ip text
operator_events.request_id text
provisioning_keys.id uuid not null default gen_random_uuid()
provisioning_keys.key_hash character varying(255) not null
provisioning_keys.fleet_id character varying(100) not null
provisioning_keys.description text
provisioning_keys.max_devices integer default 100
provisioning_keys.devices_provisioned integer default 0
provisioning_keys.expires_at timestamp without time zone not null
provisioning_keys.is_active boolean default true
provisioning_keys.created_at timestamp without time zone default (now() AT TIME ZONE 'utc'::text)
provisioning_keys.created_by character varying(255)
provisioning_keys.last_used_at timestamp without time zone
provisioning_keys.default_broker_id integer
provisioning_keys.revoked_at timestamp with time zone
provisioning_keys.revoked_reason text
provisioning_keys.updated_at timestamp with time zone
provisioning_keys.updated_by text
provisioning_keys.updated_request_id text
refusal_counts.source_ip text not null
refusal_counts.reason text not null
refusal_counts.subject text not null
refusal_counts.refusals integer not null default 1
refusal_counts.until timestamp with time zone not null default (now() + '00:15:00'::interval)

-- constraints
broker_certificates: broker_certificates_of_check CHECK ((of = ANY (ARRAY['server'::text, 'ca_cert'::text, 'client_cert'::text])))
broker_certificates: broker_certificates_pkey PRIMARY KEY (broker_id, of, subject, expires_at)
broker_counts: broker_counts_pkey PRIMARY KEY (broker_id)
broker_test_lease: broker_test_lease_one_row CHECK ((id = 1))
broker_test_lease: broker_test_lease_pkey PRIMARY KEY (id)
bulk_assign_jobs: bulk_assign_jobs_once_key UNIQUE (once)
bulk_assign_jobs: bulk_assign_jobs_pkey PRIMARY KEY (id)
bulk_assign_jobs: bulk_assign_jobs_reverts_job_id_fkey FOREIGN KEY (reverts_job_id) REFERENCES bulk_assign_jobs(id)
bulk_assign_jobs: bulk_assign_jobs_state_check CHECK ((state = ANY (ARRAY['queued'::text, 'running'::text, 'finished'::text, 'failed'::text, 'cancelled'::text])))
deleted_brokers: deleted_brokers_pkey PRIMARY KEY (id)
device_events: device_events_pkey PRIMARY KEY (id)
device_events: device_events_type_check CHECK (berth_is_event_type(type)) NOT VALID
devices: devices_mqtt_broker_id_fkey FOREIGN KEY (mqtt_broker_id) REFERENCES mqtt_broker_config(id) ON DELETE SET NULL
devices: devices_pkey PRIMARY KEY (id)
event_counting: event_counting_only_row_check CHECK (only_row)
event_counting: event_counting_pkey PRIMARY KEY (only_row)
event_counts: event_counts_pkey PRIMARY KEY (resolution, at, kind, code)
event_counts: event_counts_resolution_check CHECK ((resolution = ANY (ARRAY['minute'::text, 'hour'::text])))
leases: leases_pkey PRIMARY KEY (name)
mqtt_acls: mqtt_acls_access_check CHECK (((access >= 1) AND (access <= 7)))
mqtt_acls: mqtt_acls_pkey PRIMARY KEY (id)
mqtt_broker_config: mqtt_broker_config_allocation_weight_check CHECK (((allocation_weight >= 1) AND (allocation_weight <= 1000)))
mqtt_broker_config: mqtt_broker_config_pkey PRIMARY KEY (id)
mqtt_broker_config: mqtt_broker_config_port_check CHECK (((port >= 1) AND (port <= 65535)))
mqtt_broker_config: mqtt_broker_config_protocol_check CHECK (((protocol)::text = ANY ((ARRAY['mqtt'::character varying, 'mqtts'::character varying, 'ws'::character varying, 'wss'::character varying])::text[])))
mqtt_users: mqtt_users_pkey PRIMARY KEY (id)
operator_events: operator_events_pkey PRIMARY KEY (id)
operator_events: operator_events_target_kind_check CHECK ((target_kind = ANY (ARRAY['broker'::text, 'key'::text, 'job'::text])))
operator_events: operator_events_type_check CHECK ((type = ANY (ARRAY['broker-created'::text, 'broker-changed'::text, 'default-changed'::text, 'broker-deleted'::text, 'broker-tested'::text, 'key-issued'::text, 'key-changed'::text, 'key-revoked'::text, 'job-created'::text, 'job-cancelled'::text, 'job-resumed'::text])))
provisioning_keys: provisioning_keys_default_broker_id_fkey FOREIGN KEY (default_broker_id) REFERENCES mqtt_broker_config(id) ON DELETE SET NULL
provisioning_keys: provisioning_keys_pkey PRIMARY KEY (id)
refusal_counts: refusal_counts_pkey PRIMARY KEY (source_ip, reason, subject)

-- indexes
CREATE UNIQUE INDEX broker_certificates_pkey ON public.broker_certificates USING btree (broker_id, of, subject, expires_at)
CREATE UNIQUE INDEX broker_counts_pkey ON public.broker_counts USING btree (broker_id)
CREATE UNIQUE INDEX broker_test_lease_pkey ON public.broker_test_lease USING btree (id)
CREATE UNIQUE INDEX bulk_assign_jobs_once_key ON public.bulk_assign_jobs USING btree (once)
CREATE INDEX bulk_assign_jobs_open_idx ON public.bulk_assign_jobs USING btree (id) WHERE (state = ANY (ARRAY['queued'::text, 'running'::text]))
CREATE UNIQUE INDEX bulk_assign_jobs_pkey ON public.bulk_assign_jobs USING btree (id)
CREATE INDEX bulk_assign_jobs_reverts_idx ON public.bulk_assign_jobs USING btree (reverts_job_id)
CREATE UNIQUE INDEX deleted_brokers_pkey ON public.deleted_brokers USING btree (id)
CREATE INDEX device_events_device_id_idx ON public.device_events USING btree (device_id, id) WHERE (job_id IS NOT NULL)
CREATE INDEX device_events_job_idx ON public.device_events USING btree (job_id, id) WHERE (job_id IS NOT NULL)
CREATE UNIQUE INDEX device_events_pkey ON public.device_events USING btree (id)
CREATE INDEX device_events_refused_idx ON public.device_events USING btree (source_ip, reason, at) WHERE (type = 'refused'::text)
CREATE INDEX device_events_skipped_idx ON public.device_events USING btree (job_id, id) WHERE (type = 'skipped'::text)
CREATE INDEX device_events_uuid_idx ON public.device_events USING btree (device_uuid, id) WHERE (job_id IS NULL)
CREATE INDEX devices_device_type_idx ON public.devices USING btree (device_type, id)
CREATE INDEX devices_fleet_id_idx ON public.devices USING btree (fleet_id, id)
CREATE INDEX devices_handed_idx ON public.devices USING btree (COALESCE(mqtt_broker_id, 0), COALESCE(handed_broker_id, 0), COALESCE(handed_settings, ''::text), id)
CREATE INDEX devices_inactive_idx ON public.devices USING btree (id) WHERE (NOT COALESCE(is_active, true))
CREATE INDEX devices_mqtt_broker_id_idx ON public.devices USING btree (mqtt_broker_id, id)
CREATE INDEX devices_name_idx ON public.devices USING btree (lower((device_name)::text) text_pattern_ops)
CREATE INDEX devices_online_idx ON public.devices USING btree (id) WHERE is_online
CREATE UNIQUE INDEX devices_pkey ON public.devices USING btree (id)
CREATE INDEX devices_region_idx ON public.devices USING btree (region, id) WHERE (region IS NOT NULL)
CREATE INDEX devices_tags_idx ON public.devices USING gin (tags jsonb_path_ops) WHERE (tags IS NOT NULL)
CREATE UNIQUE INDEX devices_uuid_key ON public.devices USING btree (uuid)
CREATE UNIQUE INDEX event_counting_pkey ON public.event_counting USING btree (only_row)
CREATE UNIQUE INDEX event_counts_pkey ON public.event_counts USING btree (resolution, at, kind, code)
CREATE UNIQUE INDEX leases_pkey ON public.leases USING btree (name)
CREATE UNIQUE INDEX mqtt_acls_pkey ON public.mqtt_acls USING btree (id)
CREATE INDEX mqtt_acls_username_idx ON public.mqtt_acls USING btree (username)
CREATE UNIQUE INDEX mqtt_broker_config_name_key ON public.mqtt_broker_config USING btree (name)
CREATE UNIQUE INDEX mqtt_broker_config_one_default ON public.mqtt_broker_config USING btree (is_default) WHERE is_default
CREATE UNIQUE INDEX mqtt_broker_config_pkey ON public.mqtt_broker_config USING btree (id)
CREATE UNIQUE INDEX mqtt_users_pkey ON public.mqtt_users USING btree (id)
CREATE UNIQUE INDEX mqtt_users_username_key ON public.mqtt_users USING btree (username)
CREATE INDEX operator_events_actor_idx ON public.operator_events USING btree (actor, id)
CREATE UNIQUE INDEX operator_events_pkey ON public.operator_events USING btree (id)
CREATE INDEX operator_events_target_idx ON public.operator_events USING btree (target_kind, target_id, id)
CREATE INDEX operator_events_type_idx ON public.operator_events USING btree (type, id)
CREATE INDEX provisioning_keys_created_at_idx ON public.provisioning_keys USING btree (COALESCE(created_at, 'infinity'::timestamp without time zone), id)
CREATE INDEX provisioning_keys_fleet_id_idx ON public.provisioning_keys USING btree (fleet_id)
CREATE INDEX provisioning_keys_key_hash_idx ON public.provisioning_keys USING btree (key_hash)
CREATE UNIQUE INDEX provisioning_keys_pkey ON public.provisioning_keys USING btree (id)
CREATE UNIQUE INDEX refusal_counts_pkey ON public.refusal_counts USING btree (source_ip, reason, subject)
CREATE INDEX refusal_counts_until_idx ON public.refusal_counts USING btree (until)

-- views
mqtt_broker_summary as
 SELECT b.id,
    b.name,
    b.description,
    b.protocol,
    b.host,
    b.port,
    b.is_active,
    b.is_default,
    b.broker_type,
    b.last_connected_at,
    count(d.id) AS device_count,
    count(d.id) FILTER (WHERE d.is_active) AS active_device_count
   FROM (mqtt_broker_config b
     LEFT JOIN devices d ON ((d.mqtt_broker_id = b.id)))
  GROUP BY b.id;
mqtt_broker_users as
 SELECT u.username,
    u.password_hash,
    u.is_superuser,
    u.device_uuid,
    b.id AS broker_id,
    b.client_id_prefix,
    accepting.source AS broker_source,
    (berth_client_ids((u.username)::text, u.device_uuid, (b.client_id_prefix)::text) ||
        CASE
            WHEN (b.former_client_id_prefixes IS NOT NULL) THEN berth_former_client_ids((u.username)::text, u.device_uuid, b.former_client_id_prefixes)
            ELSE NULL::text[]
        END) AS client_ids,
    COALESCE(accepting.reason, 'resolved'::text) AS reason,
    COALESCE(accepting.ends_former, false) AS ends_former
   FROM ((mqtt_device_users u
     LEFT JOIN mqtt_device_brokers accepting ON ((accepting.uuid = berth_uuid(u.device_uuid))))
     LEFT JOIN mqtt_broker_config b ON ((b.id = accepting.broker_id)));
mqtt_device_brokers as
 SELECT d.id AS device_id,
    d.uuid,
    accepting.broker_id,
    accepting.source,
    accepting.reason,
    ((d.former_broker_ids IS NOT NULL) AND (accepting.broker_id = d.handed_broker_id)) AS ends_former
   FROM ((devices d
     LEFT JOIN LATERAL berth_resolved(d.uuid, d.mqtt_broker_id, d.provisioned_by_key_id, false) resolved(source, broker_id) ON (true))
     CROSS JOIN LATERAL ( SELECT resolved.broker_id,
            resolved.source,
            'resolved'::text AS reason
        UNION ALL
         SELECT b.id,
            NULL::text,
            why.reason
           FROM (mqtt_broker_config b
             CROSS JOIN LATERAL ( SELECT berth_former_reason(b.id, b.closed_to_former_at, b.default_until, d.mqtt_broker_id, d.mqtt_broker_assigned_at, COALESCE(d.provisioned_at, d.created_at), d.handed_broker_id, d.handed_at, d.handed_left_at, d.former_broker_ids, d.former_until, d.former_closed_at) AS berth_former_reason) why(reason))
          WHERE (((d.handed_broker_id IS DISTINCT FROM resolved.broker_id) OR (d.former_broker_ids IS NOT NULL)) AND (b.id IS DISTINCT FROM resolved.broker_id) AND (b.refusal IS DISTINCT FROM 'inactive'::text) AND (why.reason IS NOT NULL))) accepting);
mqtt_device_users as
 SELECT u.username,
    u.password_hash,
    COALESCE(u.is_superuser, false) AS is_superuser,
    d.uuid AS device_uuid,
    d.mqtt_broker_id AS assigned_broker_id,
    d.provisioned_by_key_id
   FROM (mqtt_users u
     LEFT JOIN devices d ON ((((d.uuid = berth_uuid(substr((u.username)::text, 8))) OR (d.uuid = berth_uuid(berth_canonical_uuid(substr((u.username)::text, 8))))) AND ((((u.username)::text = (d.mqtt_username)::text) OR ((u.username)::text = ('device_'::text || d.uuid))) OR (berth_ties_spellings() AND starts_with((u.username)::text, 'device_'::text))))))
  WHERE (COALESCE(u.is_active, true) AND COALESCE(d.is_active, true));

-- functions
CREATE OR REPLACE FUNCTION public.berth_canonical_uuid(spelling text)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS $function$
  select regexp_replace(lower(translate(spelling, '{}-', '')),
    '^([0-9a-f]{8})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{12})$', '\1-\2-\3-\4-\5')
$function$
CREATE OR REPLACE FUNCTION public.berth_claim_place(key uuid, current_hash text)
 RETURNS boolean
 LANGUAGE plpgsql
AS $function$
begin
  perform pg_advisory_xact_lock(hashtextextended(key::text, 0));
  -- Volatile, read committed: the next statement sees what has been committed up to now.
  update provisioning_keys
  set devices_provisioned = coalesce(devices_provisioned, 0) + 1, last_used_at = now() at time zone 'utc', key_hash = current_hash
  where id = key and is_active and expires_at > now() at time zone 'utc' and coalesce(devices_provisioned, 0) < max_devices;
  return found;
end $function$
CREATE OR REPLACE FUNCTION public.berth_client_ids(username text, device_uuid text, prefix text)
 RETURNS text[]
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS $function$
  -- A username of the legacy service can contain another spelling of the uuid.
  select array[username] || case when device_uuid is not null then array[
    coalesce(prefix, 'berth') || '_' || device_uuid, coalesce(prefix, 'berth') || '_' || substr(username, 8)] end
$function$
CREATE OR REPLACE FUNCTION public.berth_client_settings(id integer, name text, protocol text, host text, port integer, use_tls boolean, verify_certificate boolean, client_id_prefix text, keep_alive integer, clean_session boolean, reconnect_period integer, connect_timeout integer, ca_cert text)
 RETURNS json
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS $function$
  select json_build_object(
    'id', id, 'name', name, 'protocol', protocol, 'host', host, 'port', port, 'use_tls', use_tls,
    'verify_certificate', verify_certificate, 'client_id_prefix', client_id_prefix, 'keep_alive', keep_alive,
    'clean_session', clean_session, 'reconnect_period', reconnect_period, 'connect_timeout', connect_timeout, 'ca_cert', ca_cert,
    'settings_hash', left(md5(
      protocol || E'\n' || host || E'\n' || port || E'\n' || coalesce(use_tls, false) || E'\n'
      || coalesce(verify_certificate, true) || E'\n' || coalesce(client_id_prefix, 'berth') || E'\n'
      || coalesce(keep_alive, 60) || E'\n' || coalesce(clean_session, true) || E'\n' || coalesce(reconnect_period, 1000)
      || E'\n' || coalesce(connect_timeout, 30000) || E'\n' || coalesce(ca_cert, '')), 8))
$function$
CREATE OR REPLACE FUNCTION public.berth_default_of(registered timestamp without time zone)
 RETURNS TABLE(broker_id integer)
 LANGUAGE sql
 STABLE PARALLEL SAFE
AS $function$
  select b.id from mqtt_broker_config b
  where b.default_until > coalesce(registered, '-infinity') at time zone 'utc' order by b.default_until limit 1
$function$
CREATE OR REPLACE FUNCTION public.berth_differences(one jsonb, other jsonb)
 RETURNS jsonb
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS $function$
  -- A member that is missing counts as null. What is longer than a page of history can show becomes its hash.
  select jsonb_object_agg(key, case
    when length(value::text) > 1000 then to_jsonb('sha256:' || encode(sha256(convert_to(value::text, 'UTF8')), 'hex'))
    else value end)
  from jsonb_each(one)
  where value is distinct from coalesce(other -> key, 'null')
$function$
CREATE OR REPLACE FUNCTION public.berth_end_former(device text, broker integer)
 RETURNS void
 LANGUAGE sql
AS $function$
  update devices set former_broker_ids = null, former_until = null
  where id = (
    select id from devices
    where uuid = berth_uuid(device) and handed_broker_id = broker and former_broker_ids is not null
    for update skip locked)
$function$
CREATE OR REPLACE FUNCTION public.berth_end_other_spellings()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
declare
  spelt text;
begin
  for spelt in select name from berth_spelt_usernames(new.uuid::text) name loop
    delete from mqtt_users where username = spelt;
    delete from mqtt_acls where username = spelt;
  end loop;
  return null;
end $function$
CREATE OR REPLACE FUNCTION public.berth_fill_handed(after_id integer, size integer)
 RETURNS TABLE(last_id integer, filled integer)
 LANGUAGE sql
AS $function$
  with page as materialized (
    select max(id) as last_id from (select id from devices where id > after_id order by id limit size) one
  ), unknown as materialized (
    -- A row that is being moved gets it with the move.
    select d.id, d.mqtt_broker_id, d.provisioned_by_key_id, coalesce(d.provisioned_at, d.created_at) as registered
    from devices d
    where d.id > after_id and d.id <= (select page.last_id from page) and d.handed_broker_id is null and d.handed_at is null
    for update of d skip locked
  ), alike as materialized (
    -- As berth_presumed_broker, but once for the devices of a page that are alike.
    select own.mqtt_broker_id, own.provisioned_by_key_id, resolved.source, resolved.broker_id
    from (select distinct mqtt_broker_id, provisioned_by_key_id from unknown) own
    cross join lateral berth_resolved(null, own.mqtt_broker_id, own.provisioned_by_key_id, false) resolved
  ), filled as (
    update devices d
    set handed_broker_id =
      coalesce(case when alike.source = 'default' then (select o.broker_id from berth_default_of(unknown.registered) o) end,
        alike.broker_id)
    from unknown
    join alike on alike.mqtt_broker_id is not distinct from unknown.mqtt_broker_id
      and alike.provisioned_by_key_id is not distinct from unknown.provisioned_by_key_id
    where d.id = unknown.id and d.id > after_id and d.id <= (select page.last_id from page)
    returning d.id
  )
  select page.last_id, (select count(*)::integer from filled) from page
$function$
CREATE OR REPLACE FUNCTION public.berth_former_client_ids(username text, device_uuid text, prefixes text[])
 RETURNS text[]
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS $function$
  select array_agg(prefix || '_' || spelling)
  from unnest(prefixes) prefix, unnest(array[device_uuid, substr(username, 8)]) spelling
$function$
CREATE OR REPLACE FUNCTION public.berth_former_reason(broker integer, closed_to_former_at timestamp with time zone, default_until timestamp with time zone, assigned integer, assigned_at timestamp with time zone, registered timestamp without time zone, handed integer, handed_at timestamp with time zone, handed_left_at timestamp with time zone, former integer[], former_until timestamp with time zone, former_closed_at timestamp with time zone)
 RETURNS text
 LANGUAGE sql
 STABLE PARALLEL SAFE
AS $function$
  select case
    when broker = handed then
      case when greatest(closed_to_former_at, former_closed_at) >= coalesce(greatest(
             handed_at, handed_left_at,
             -- Followers of the default leave it without a write to their rows.
             case when assigned is null and coalesce(assigned_at, '-infinity') < default_until
                  then default_until end), '-infinity') then null
           else 'handed' end
    when broker = any(former) and former_until > now() and coalesce(closed_to_former_at < handed_at, true) then 'former'
    -- Not known yet: every default of the time since it registered.
    when handed is null and handed_at is null and default_until > coalesce(registered, '-infinity') at time zone 'utc'
      and coalesce(greatest(closed_to_former_at, former_closed_at) < default_until, true) then 'handed'
  end
$function$
CREATE OR REPLACE FUNCTION public.berth_has_recorded(device text, request text)
 RETURNS boolean
 LANGUAGE plpgsql
AS $function$
begin
  -- Volatile, read committed: it sees what was committed while the statement waited for a lock.
  return exists (select from device_events where device_uuid = device and job_id is null and request_id = request);
end $function$
CREATE OR REPLACE FUNCTION public.berth_has_recorded_change(kind text, target text, request text)
 RETURNS boolean
 LANGUAGE plpgsql
AS $function$
begin
  -- Volatile, read committed: it sees what was committed while the statement waited for a lock.
  return exists (
    select from operator_events where target_kind = kind and target_id = target and request_id = request);
end $function$
CREATE OR REPLACE FUNCTION public.berth_is_event_type(type text)
 RETURNS boolean
 LANGUAGE plpgsql
 IMMUTABLE PARALLEL SAFE
AS $function$
begin
  return type in (
    'registered', 'refused', 'moved', 'skipped', 'updated', 'fleet-changed', 'activated', 'deactivated',
    'credentials-renewed', 'credentials-revoked', 'deleted');
end $function$
CREATE OR REPLACE FUNCTION public.berth_keep_broker_name()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'public', 'pg_temp'
AS $function$
begin
  insert into deleted_brokers (id, name) values (old.id, old.name)
  on conflict (id) do update set name = excluded.name, deleted_at = excluded.deleted_at;
  return null;
end $function$
CREATE OR REPLACE FUNCTION public.berth_mqtt_username(device_uuid text)
 RETURNS text
 LANGUAGE sql
 STABLE PARALLEL SAFE
AS $function$
  select u.username from berth_mqtt_usernames(device_uuid, null) name join mqtt_users u on u.username = name
  order by u.id desc limit 1
$function$
CREATE OR REPLACE FUNCTION public.berth_mqtt_usernames(device_uuid text, named text)
 RETURNS SETOF text
 LANGUAGE sql
 STABLE PARALLEL SAFE ROWS 2
AS $function$
  select 'device_' || device_uuid
  union
  select named where named is not null
  union
  select name from berth_spelt_usernames(device_uuid) name
$function$
CREATE OR REPLACE FUNCTION public.berth_now()
 RETURNS timestamp without time zone
 LANGUAGE sql
 STABLE PARALLEL SAFE
AS $function$ select now() at time zone 'utc' $function$
CREATE OR REPLACE FUNCTION public.berth_presumed_broker(device_uuid text, assigned_broker integer, provisioning_key uuid, registered timestamp without time zone)
 RETURNS integer
 LANGUAGE sql
 STABLE PARALLEL SAFE
AS $function$
  select coalesce(case when resolved.source = 'default' then (select d.broker_id from berth_default_of(registered) d) end,
    resolved.broker_id)
  from berth_resolved(device_uuid, assigned_broker, provisioning_key, false) resolved
$function$
CREATE OR REPLACE FUNCTION public.berth_purge_events(after_id bigint, days integer, size integer)
 RETURNS TABLE(last_id bigint, purged integer, is_last boolean)
 LANGUAGE sql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'public', 'pg_temp'
AS $function$
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
$function$
CREATE OR REPLACE FUNCTION public.berth_purge_operator_events(days integer, size integer)
 RETURNS integer
 LANGUAGE sql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'public', 'pg_temp'
AS $function$
  with purged as (
    delete from operator_events
    where id in (
      select id from (select id, at from operator_events order by id limit size) oldest
      where at < now() - make_interval(days => greatest(365, days)))
    returning id
  )
  select count(*)::integer from purged
$function$
CREATE OR REPLACE FUNCTION public.berth_record_move()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'public', 'pg_temp'
AS $function$
declare
  handed integer := new.handed_broker_id;
  left_at timestamptz := new.handed_left_at;
begin
  if handed is null and new.handed_at is null then
    handed := berth_presumed_broker(
      old.uuid::text, old.mqtt_broker_id, old.provisioned_by_key_id, coalesce(old.provisioned_at, old.created_at));
  end if;
  if coalesce(old.handed_broker_id = coalesce(old.mqtt_broker_id,
      (select b.id from mqtt_broker_config b where b.is_default)), true) then
    left_at := now();
  end if;
  update devices
  set mqtt_broker_assigned_at = now(), modified_at = berth_now(), handed_broker_id = handed, handed_left_at = left_at
  where id = new.id;
  insert into device_events (type, device_uuid, device_id, fleet_id, from_broker_id, to_broker_id, actor)
  values ('moved', new.uuid::text, new.id, new.fleet_id, old.mqtt_broker_id, new.mqtt_broker_id, 'sql:' || session_user);
  return null;
end $function$
CREATE OR REPLACE FUNCTION public.berth_remember_broker()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
begin
  if old.is_default and new.is_default is not true then
    new.default_until := now();
  end if;
  if coalesce(new.client_id_prefix, 'berth') <> coalesce(old.client_id_prefix, 'berth') then
    new.former_client_id_prefixes := array_append(
      array_remove(old.former_client_id_prefixes, new.client_id_prefix::text), coalesce(old.client_id_prefix, 'berth')::text);
  end if;
  return new;
end $function$
CREATE OR REPLACE FUNCTION public.berth_resolve(device_uuid text, assigned_broker integer, provisioning_key uuid, is_new boolean)
 RETURNS TABLE(number integer, source text, broker_id integer, usable boolean, skip_reason text, connect_after_ms integer)
 LANGUAGE sql
 STABLE PARALLEL SAFE
AS $function$
  select step.number, step.source, step.broker_id, skip.reason is null, skip.reason, 0
  from (values
    (1, 'device', assigned_broker),
    (2, 'provisioning_key', (select k.default_broker_id from provisioning_keys k where k.id = provisioning_key)),
    (3, 'default', (select b.id from mqtt_broker_config b where b.is_default))
  ) step (number, source, broker_id)
  left join mqtt_broker_config broker on broker.id = step.broker_id
  cross join lateral (
    select case
      when step.broker_id is null then 'none'
      when broker.id is null then 'missing'
      when broker.refusal = 'inactive' or is_new then broker.refusal
    end
  ) skip (reason)
$function$
CREATE OR REPLACE FUNCTION public.berth_resolved(device_uuid text, assigned_broker integer, provisioning_key uuid, is_new boolean)
 RETURNS TABLE(source text, broker_id integer)
 LANGUAGE sql
 STABLE PARALLEL SAFE
AS $function$
  select step.source, step.broker_id
  from berth_resolve(device_uuid, assigned_broker, provisioning_key, is_new) step
  where step.usable
  order by step.number
  limit 1
$function$
CREATE OR REPLACE FUNCTION public.berth_spelt_usernames(device_uuid text)
 RETURNS SETOF text
 LANGUAGE plpgsql
 STABLE PARALLEL SAFE ROWS 1
AS $function$
begin
  -- The conditions of the index.
  return query select username::text from mqtt_users
  where berth_ties_spellings() and berth_canonical_uuid(substr(username, 8)) = device_uuid
    and starts_with(username, 'device_')
    and (username not like 'device\_________-____-____-____-____________' or username <> lower(username));
end $function$
CREATE OR REPLACE FUNCTION public.berth_tagged(wanted jsonb, most integer)
 RETURNS SETOF integer
 LANGUAGE plpgsql
 STABLE ROWS 100
AS $function$
begin
  return query execute 'select id from devices where tags @> $1 limit $2' using wanted, most;
end $function$
CREATE OR REPLACE FUNCTION public.berth_ties_spellings()
 RETURNS boolean
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS $function$select false$function$
CREATE OR REPLACE FUNCTION public.berth_uuid(identifier text)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS $function$select identifier$function$
CREATE OR REPLACE FUNCTION public.berth_uuid_begins(device_uuid text, prefix text)
 RETURNS boolean
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS $function$select device_uuid >= prefix and device_uuid < prefix || '~'$function$
