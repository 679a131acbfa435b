// Generated from the specs by `npm run generate`.

export type Broker = {
  id: number;
  name: string;
  description: string | null;
  protocol: string;
  host: string;
  port: number;
  username: string | null;
  use_tls: boolean | null;
  client_id_prefix: string | null;
  keep_alive: number | null;
  clean_session: boolean | null;
  reconnect_period: number | null;
  connect_timeout: number | null;
  is_active: boolean | null;
  is_default: boolean | null;
  broker_type: string | null;
  extra_config: {
    [name: string]: unknown;
  } | null;
  created_at: string | null;
  updated_at: string | null;
  last_connected_at: string | null;
  accepts_new_devices: boolean;
  region: string | null;
  allocation_weight: number;
  ca_cert: string | null;
  client_cert: string | null;
  verify_certificate: boolean | null;
  /** Whether the connection test can send a password */
  has_password: boolean;
  has_client_key: boolean;
  ca_cert_info: {
    subject: string;
    issuer: string;
    expires_at: string;
  }[] | null;
  client_cert_info: {
    subject: string;
    issuer: string;
    expires_at: string;
  }[] | null;
};

export type BrokerChange = {
  /** Its unique name */
  name?: string;
  /** Host name, IPv4 or IPv6 address */
  host?: string;
  /** TCP port */
  port?: number;
  description?: string | null;
  /** mqtts and wss use TLS */
  protocol?: "mqtt" | "mqtts" | "ws" | "wss";
  username?: string | null;
  password?: string | null;
  /** Follows from the protocol. A value that contradicts it is refused */
  use_tls?: boolean;
  ca_cert?: string | null;
  client_cert?: string | null;
  client_key?: string | null;
  /** Whether clients verify its certificate */
  verify_certificate?: boolean;
  /** The prefix of MQTT client ids */
  client_id_prefix?: string;
  /** Seconds */
  keep_alive?: number;
  /** MQTT clean session */
  clean_session?: boolean;
  /** Milliseconds */
  reconnect_period?: number;
  /** Milliseconds */
  connect_timeout?: number;
  /** false: resolution skips it */
  is_active?: boolean;
  /** The broker of every device without another one. Setting it unsets the former default */
  is_default?: boolean;
  /** A label such as local, cloud or edge */
  broker_type?: string;
  /** Anything else, for the tools of the operator: at most 16,384 characters of JSON */
  extra_config?: {
    [name: string]: unknown;
  };
  /** false drains it: it keeps its devices and accepts no new ones */
  accepts_new_devices?: boolean;
  region?: string | null;
  /** Its share of new devices, for allocation policies */
  allocation_weight?: number;
  /** true: devices that no longer belong to this broker are refused here, even if they know no other one. If the broker becomes the default: at the former default */
  close_former?: boolean;
};

export type BrokerConfig = {
  protocol: "mqtt" | "mqtts" | "ws" | "wss";
  host: string;
  port: number;
  useTls: boolean;
  verifyCertificate: boolean;
  clientIdPrefix: string;
  /** Seconds */
  keepAlive: number;
  cleanSession: boolean;
  /** Milliseconds */
  reconnectPeriod: number;
  /** Milliseconds */
  connectTimeout: number;
  /** PEM; absent: the system’s CAs */
  caCert?: string;
  /** PEM */
  clientCert?: string;
};

export type ConnectionTest = {
  reachable: boolean;
  /** The stage that failed */
  stage?: "dns" | "tcp" | "tls" | "connack";
  /** Why, as a code: `connection-refused` */
  problem?: string;
  /** Why, and what to do */
  advice?: string;
  tls?: {
    version: string | null;
    subject: string;
    issuer: string;
    expiresAt: string | null;
    /** A false one fails the test, except with verify_certificate false */
    verified: boolean;
    problem?: string;
    chain: string[];
  };
  connack?: {
    reasonCode: number;
    meaning: string;
  };
  latencyMs: {
    dns?: number;
    tcp?: number;
    tls?: number;
    connack?: number;
  };
};

export type DeleteDevicesUuidReply = {
  status: "ok";
  message: string;
  uuid: string;
};

export type DeleteMqttBrokersIdReply = {
  success: true;
  message: string;
  /** Devices that resolve to another broker because of the change, that get other settings, that stay at a drained broker, or that may no longer use a broker that they do not resolve to. Null: they could not be counted in time */
  devices_affected: number | null;
  devices_moved?: number;
};

export type Device = {
  id: number;
  uuid: string;
  device_name: string | null;
  device_type: string | null;
  fleet_id: string | null;
  is_active: boolean | null;
  mqtt_broker_id: number | null;
  mqtt_broker_assigned_at: string | null;
  mqtt_username: string | null;
  region: string | null;
  tags: {
    [name: string]: string;
  } | null;
  created_at: string | null;
  modified_at: string | null;
  [name: string]: unknown;
};

export type DeviceChange = {
  mqtt_broker_id?: number | null;
  /** Name for people */
  device_name?: string;
  /** Kind of device */
  device_type?: string;
  /** Its fleet. It stays registered with the provisioning key of its old one */
  fleet_id?: string;
  /** false: its MQTT user stops working immediately */
  is_active?: boolean;
  /** true: the broker that it was handed before refuses it, even if it knows no other one */
  close_former?: boolean;
  reason?: string | null;
};

export type DeviceEvent = {
  id: number;
  at: string;
  type: string;
  actor: string | null;
  reason: string | null;
  /** The fleet of the device after the event */
  fleet_id: string | null;
  from_broker_id: number | null;
  /** Its name now, or the name that it had when it was deleted */
  from_broker_name: string | null;
  to_broker_id: number | null;
  /** Its name now, or the name that it had when it was deleted */
  to_broker_name: string | null;
  /** The bulk-assign job that did it */
  job_id: number | null;
  /** The `reason` of that job */
  job_reason: string | null;
  source_ip: string | null;
  request_id: string | null;
};

export type ExplainedStep = {
  step: number;
  source: "device" | "provisioning_key" | "default" | "environment";
  broker_id: number | null;
  outcome: "taken" | "skipped" | "not reached";
  why: string;
};

export type GetDevicesBulkAssignIdDevicesReply = {
  count: number;
  devices: JobDevice[];
  next?: string;
};

export type GetDevicesBulkAssignReply = {
  count: number;
  jobs: Job[];
  next?: string;
};

export type GetDevicesReply = {
  count: number;
  devices: Device[];
  next?: string;
};

export type GetDevicesUuidEventsReply = {
  count: number;
  events: DeviceEvent[];
  next?: string;
};

export type GetDevicesUuidReply = {
  device: Device;
  resolved_broker: ResolvedBroker;
  explain: ExplainedStep[];
  if_default_changes: {
    moves: boolean;
    why: string;
  };
  handed: Handed;
  /** false: the device is behind, it was last handed other settings than its broker has now */
  follows: boolean | "unknown";
  why_follows: string;
};

export type GetEventsReply = {
  items: ({
    id: number;
    at: string;
    type: string;
    actor: string | null;
    target: {
      kind: "broker" | "key" | "job" | "device";
      /** Of a key its id, of a device its uuid */
      id: number | string;
      /** Of a broker or a key as it was then */
      name: string | null;
    };
    /** What differs, as it was. Null: nothing, or the target did not exist */
    before: {
      [name: string]: unknown;
    } | null;
    /** The same members afterwards, without secrets; what is longer than 1,000 characters as its SHA-256. Of a test its result */
    after: {
      [name: string]: unknown;
    } | null;
    reason: string | null;
    /** The job that did it to the device */
    job_id: number | null;
    source_ip: string | null;
    request_id: string | null;
  })[];
  next?: string;
};

export type GetFleetsReply = {
  count: number;
  fleets: {
    fleet_id: string;
    /** Its devices */
    device_count: number;
    /** false: there are more than 1,000; the number is that of the places which its keys have given away */
    device_count_is_exact: boolean;
    /** Its provisioning keys */
    key_count: number;
    /** Those of them that devices can register with now */
    usable_key_count: number;
    /** How many devices can register with these */
    places_left: number;
  }[];
  next?: string;
};

export type GetMqttBrokersIdReply = {
  success: true;
  data: Broker;
};

export type GetMqttBrokersReply = {
  success: true;
  data: ListedBroker[];
  count: number;
  next?: string;
};

export type GetMqttBrokersSummaryReply = {
  success: true;
  data: SummarisedBroker[];
  count: number;
  next?: string;
};

export type GetOpenapiJsonReply = {
  [name: string]: unknown;
};

export type GetProvisioningKeysReply = {
  fleet_id: string | null;
  count: number;
  keys: ProvisioningKey[];
  next?: string;
};

export type GetSessionReply = {
  actor: string;
  scopes: ("read" | "write")[];
};

export type GetStatsReply = {
  generated_at: string;
  resolution: "minute" | "hour";
  /** Minutes are kept for 48 hours, hours for 90 days */
  from: string;
  /** Events after this time are not counted yet, or not asked for */
  to: string;
  /** The first 1,000, the default first, then by name */
  brokers: ({
    id: number;
    name: string;
    /** Devices that belong to it. Null here and below: not counted yet */
    resolved: number | null;
    /** Those of them that were last handed other settings */
    behind: number | null;
    /** Those of them that are active */
    active: number | null;
    /** A schedule counts every minute */
    counted_at: string | null;
  })[];
  /** Provisioning keys that need attention: those that expire within 14 days, and those in use of which less than a tenth is left. At most 20 */
  keys: ({
    id: string;
    fleet_id: string;
    description: string | null;
    devices_provisioned: number;
    max_devices: number | null;
    expires_at: string;
  })[];
  /** Certificates that expire within 30 days, or have expired. At most 20 */
  certificates: ({
    broker_id: number;
    broker_name: string;
    of: "server" | "ca_cert" | "client_cert";
    subject: string;
    expires_at: string;
    /** A schedule checks every 6 hours */
    seen_at: string;
  })[];
  points: {
    /** The begin of the minute or hour */
    at: string;
    registered: number;
    /** Not recorded; the metric `RegistrationReplayed` counts them */
    replayed: null;
    /** Devices that changed their broker, by operators and jobs */
    moved: number;
    /** By code, as recorded: at most 20 of a kind in 15 minutes */
    refused: {
      [name: string]: number;
    };
  }[];
};

export type Handed = {
  broker_id: number | null;
  version: string | null;
  at: string | null;
} | null;

export type IssuedProvisioningKey = {
  id: string;
  key: string;
  fleetId: string;
  maxDevices: number;
  expiresAt: string;
  description?: string;
  default_broker_id?: number;
  warning: string;
};

export type Job = {
  id: number;
  state: "queued" | "running" | "finished" | "failed" | "cancelled";
  failure: "broker-not-found" | "broker-inactive" | "broker-draining" | null;
  reason: string | null;
  filter: {
    [name: string]: unknown;
  };
  /** The values of the filter that do not exist: a fleet without devices and provisioning keys, a broker, a type, a region, tags that no device has, uuids. Null: all exist */
  unknown: {
    [name: string]: unknown;
  } | null;
  /** A sentence when the filter matches no device, or names unknown uuids */
  notice: string | null;
  /** Null for a revert: every device returns to its previous broker */
  target: {
    mqtt_broker_id: number | null;
    name: string | null;
  } | null;
  reverts_job_id: number | null;
  /** The job that this one undoes */
  reverts: {
    id: number;
    state: "queued" | "running" | "finished" | "failed" | "cancelled";
    reason: string | null;
    filter: {
      [name: string]: unknown;
    };
    /** Null for a revert: every device returns to its previous broker */
    target: {
      mqtt_broker_id: number | null;
      name: string | null;
    } | null;
    moved: number;
    already_there: number;
    created_at: string;
    created_by: string;
  } | null;
  reverted_by_job_id: number | null;
  max_per_minute: number | null;
  close_former: boolean;
  created_at: string;
  created_by: string;
  started_at: string | null;
  ended_at: string | null;
  /** Devices that have another broker now */
  moved: number;
  /** Devices that match and resolved to the target before, with or without an assignment of their own */
  already_there: number;
  /** Devices that were left alone; the list of the job’s devices says why */
  skipped: number;
  batches: number;
  /** 0 to 1 */
  progress: number;
  devices_per_second: number | null;
  seconds_left: number | null;
};

export type JobDevice = {
  id: number;
  at: string;
  device_uuid: string;
  fleet_id: string | null;
  outcome: "moved" | "already-there" | "skipped";
  /** Moved: `bulk-assign` or `revert`. Already there: `already-there` (it resolved to this broker before, without this assignment). Skipped: `changed-since` (somebody else moved it after the job was created), or by a revert `device-deleted`, `broker-deleted`, `broker-inactive` (the previous broker) */
  reason: string;
  from_broker_id: number | null;
  to_broker_id: number | null;
  from_broker_name: string | null;
  to_broker_name: string | null;
};

export type JobFilter = {
  unassigned?: true;
  /** Devices of this fleet */
  fleet_id?: string;
  /** Devices assigned to this broker */
  broker_id?: number;
  /** Devices of this type */
  device_type?: string;
  /** Devices in this region */
  region?: string;
  /** Devices with all of these tags */
  tags?: {
    [name: string]: string;
  };
  uuids?: string[];
};

export type JobPreview = {
  dry_run: true;
  target: {
    mqtt_broker_id: number | null;
    name: string | null;
  };
  /** Devices that match and would have another broker */
  would_move: number;
  /** Devices that match and resolve to the target already */
  already_there: number;
  by_broker: ({
    mqtt_broker_id: number | null;
    name: string | null;
    devices: number;
  })[];
  sample: ({
    uuid: string;
    fleet_id: string | null;
    mqtt_broker_id: number | null;
  })[];
  /** The values of the filter that do not exist: a fleet without devices and provisioning keys, a broker, a type, a region, tags that no device has, uuids. Null: all exist */
  unknown: {
    [name: string]: unknown;
  } | null;
  notice: string | null;
};

export type ListedBroker = {
  id: number;
  name: string;
  description: string | null;
  protocol: string;
  host: string;
  port: number;
  username: string | null;
  use_tls: boolean | null;
  client_id_prefix: string | null;
  keep_alive: number | null;
  clean_session: boolean | null;
  reconnect_period: number | null;
  connect_timeout: number | null;
  is_active: boolean | null;
  is_default: boolean | null;
  broker_type: string | null;
  extra_config: {
    [name: string]: unknown;
  } | null;
  created_at: string | null;
  updated_at: string | null;
  last_connected_at: string | null;
  accepts_new_devices: boolean;
  region: string | null;
  allocation_weight: number;
};

export type Mqtt = {
  username: string;
  /** Absent for a legacy device that keeps the password it has */
  password?: string;
  /** protocol://host:port */
  broker: string;
  brokerConfig?: BrokerConfig;
  topics: {
    publish: string[];
    subscribe: string[];
  };
  assignment: {
    source: "device" | "provisioning_key" | "default" | "environment";
    brokerId: number | null;
    brokerName: string | null;
  };
  /** Changes with anything that the device must act on; in quotes it is the ETag */
  version: string;
};

export type MqttDecision = {
  result: "allow" | "deny";
  is_superuser: false;
  Ok: boolean;
  /** Why not */
  Error: string;
};

export type NewBroker = {
  /** Its unique name */
  name: string;
  /** Host name, IPv4 or IPv6 address */
  host: string;
  /** TCP port */
  port: number;
  description?: string | null;
  /** mqtts and wss use TLS */
  protocol?: "mqtt" | "mqtts" | "ws" | "wss";
  username?: string | null;
  password?: string | null;
  /** Follows from the protocol. A value that contradicts it is refused */
  use_tls?: boolean;
  ca_cert?: string | null;
  client_cert?: string | null;
  client_key?: string | null;
  /** Whether clients verify its certificate */
  verify_certificate?: boolean;
  /** The prefix of MQTT client ids */
  client_id_prefix?: string;
  /** Seconds */
  keep_alive?: number;
  /** MQTT clean session */
  clean_session?: boolean;
  /** Milliseconds */
  reconnect_period?: number;
  /** Milliseconds */
  connect_timeout?: number;
  /** false: resolution skips it */
  is_active?: boolean;
  /** The broker of every device without another one. Setting it unsets the former default */
  is_default?: boolean;
  /** A label such as local, cloud or edge */
  broker_type?: string;
  /** Anything else, for the tools of the operator: at most 16,384 characters of JSON */
  extra_config?: {
    [name: string]: unknown;
  };
  /** false drains it: it keeps its devices and accepts no new ones */
  accepts_new_devices?: boolean;
  region?: string | null;
  /** Its share of new devices, for allocation policies */
  allocation_weight?: number;
};

export type NewJob = {
  filter?: JobFilter;
  all?: true;
  target: {
    mqtt_broker_id: number | null | "default";
  };
  /** The brokers that moved devices were handed before refuse them, even if they know no other one */
  close_former?: true;
  dry_run?: boolean;
  reason?: string | null;
  /** Limit for the devices moved in any 60 seconds */
  max_per_minute?: number;
};

export type NewProvisioningKey = {
  /** The fleet of the devices that register with the key */
  fleetId?: string;
  /** The fleet of the devices that register with the key */
  fleet_id?: string;
  /** How many devices may register with it */
  maxDevices?: number;
  /** How many devices may register with it */
  max_devices?: number;
  /** Days from now until it expires */
  expiresInDays?: number;
  /** Days from now until it expires */
  expires_in_days?: number;
  defaultBrokerId?: number | null;
  default_broker_id?: number | null;
  description?: string | null;
};

export type PatchDevicesUuidActiveBody = {
  /** false: its MQTT user stops working immediately */
  is_active: boolean;
  reason?: string | null;
};

export type PatchDevicesUuidActiveReply = {
  status: "ok";
  message: "Device enabled" | "Device disabled";
  device: {
    uuid: string;
    device_name: string | null;
    is_active: boolean | null;
    is_online: boolean | null;
  };
};

export type PostDeviceUuidKeyExchangeBody = {
  deviceApiKey?: string | null;
};

export type PostDeviceUuidKeyExchangeReply = {
  status: "ok";
  message: string;
  device: {
    id: number;
    uuid: string;
    deviceName: string | null;
  };
};

export type PostDevicesBulkAssignIdRevertBody = {
  reason?: string | null;
};

export type PostDevicesBulkAssignReply = Job | JobPreview;

export type PostMqttAuthAclBody = {
  /** The MQTT username */
  username?: string;
  /** The topic, or the filter to subscribe to */
  topic?: string;
  /** EMQX: `publish` or `subscribe` */
  action?: string;
  /** mosquitto-go-auth: 1 read, 2 write, 4 subscribe. With it a refusal is a 403 */
  acc?: unknown;
  /** mosquitto-go-auth: the client id. With it a refusal is a 403 */
  clientid?: unknown;
};

export type PostMqttAuthResourceBody = {
  /** The MQTT username */
  username?: string;
  /** `queue` or `exchange` */
  resource?: string;
  /** Its name */
  name?: string;
  /** `configure`, `write` or `read` */
  permission?: string;
};

export type PostMqttAuthTopicBody = {
  /** The MQTT username */
  username?: string;
  /** The exchange */
  name?: string;
  /** `write`, or `read` to subscribe */
  permission?: string;
  /** The topic or filter in AMQP notation, `.` for `/` and `*` for `+` */
  routing_key?: string;
};

export type PostMqttAuthUserBody = {
  /** The MQTT username */
  username?: string;
  /** The MQTT password */
  password?: string;
  /** mosquitto-go-auth: the client id. With it a refusal is a 403 */
  clientid?: unknown;
  /** RabbitMQ, EMQX: the client id */
  client_id?: unknown;
};

export type PostMqttAuthVhostBody = {
  /** The MQTT username */
  username?: string;
};

export type PostMqttBrokersIdTestReply = {
  success: true;
  message: string;
  broker: {
    protocol: string;
    host: string;
    port: number;
    username: string | null;
    /** Whether one is stored, also if only as a hash */
    has_password: boolean;
    use_tls: boolean | null;
  };
  data: ConnectionTest;
};

export type PostMqttBrokersReply = {
  success: true;
  message: string;
  data: Broker;
  /** Devices that resolve to another broker because of the change, that get other settings, that stay at a drained broker, or that may no longer use a broker that they do not resolve to. Null: they could not be counted in time */
  devices_affected: number | null;
};

export type ProvisioningKey = {
  id: string;
  fleet_id: string;
  description: string | null;
  max_devices: number | null;
  devices_provisioned: number | null;
  expires_at: string;
  is_active: boolean | null;
  created_at: string | null;
  created_by: string | null;
  last_used_at: string | null;
  default_broker_id: number | null;
  updated_at: string | null;
  updated_by: string | null;
};

export type PutDevicesUuidReply = {
  device: Device;
  resolved_broker: ResolvedBroker;
};

export type PutProvisioningKeysIdBody = {
  /** How many devices may register with it */
  maxDevices?: number;
  /** How many devices may register with it */
  max_devices?: number;
  /** When it expires */
  expiresAt?: string;
  /** When it expires */
  expires_at?: string;
  /** Days from now until it expires */
  expiresInDays?: number;
  /** Days from now until it expires */
  expires_in_days?: number;
  defaultBrokerId?: number | null;
  default_broker_id?: number | null;
  description?: string | null;
};

export type PutProvisioningKeysIdReply = {
  id: string;
  fleet_id: string;
  description: string | null;
  max_devices: number | null;
  devices_provisioned: number | null;
  expires_at: string;
  is_active: boolean | null;
  created_at: string | null;
  created_by: string | null;
  last_used_at: string | null;
  default_broker_id: number | null;
  updated_at: string | null;
  updated_by: string | null;
  /** Devices that belong to another broker because of the change. Null: not known, as the database’s first reply was lost */
  devices_affected: number | null;
};

export type Registered = {
  id: number;
  uuid: string;
  deviceName: string | null;
  deviceType: string | null;
  applicationId?: string | number;
  fleetId: string | null;
  createdAt: string | null;
  mqtt: Mqtt;
};

export type Registration = {
  /** Device identifier */
  uuid: string;
  /** Name for people */
  deviceName: string;
  /** Kind of device */
  deviceType: string;
  /** The device’s own secret; made on the device, kept there. Printable ASCII. DEVICE_KEY_MIN_LENGTH can set another minLength */
  deviceApiKey: string;
  applicationId?: string | number | null;
  macAddress?: string | null;
  osVersion?: string | null;
  supervisorVersion?: string | null;
  region?: string | null;
  tags?: {
    [name: string]: string;
  } | null;
};

export type ResolvedBroker = {
  source: "device" | "provisioning_key" | "default" | "environment";
  id: number | null;
  name: string | null;
  url: string;
} | null;

export type Revocation = {
  reason?: string | null;
};

export type RevokedProvisioningKey = {
  status: "ok";
  message: string;
  keyId: string;
  reason?: string;
};

export type SummarisedBroker = {
  id: number;
  name: string;
  description: string | null;
  protocol: string;
  host: string;
  port: number;
  username: string | null;
  use_tls: boolean | null;
  client_id_prefix: string | null;
  keep_alive: number | null;
  clean_session: boolean | null;
  reconnect_period: number | null;
  connect_timeout: number | null;
  is_active: boolean | null;
  is_default: boolean | null;
  broker_type: string | null;
  extra_config: {
    [name: string]: unknown;
  } | null;
  created_at: string | null;
  updated_at: string | null;
  last_connected_at: string | null;
  accepts_new_devices: boolean;
  region: string | null;
  allocation_weight: number;
  /** assigned_count as the legacy service has it */
  device_count: string;
  /** active_assigned_count as the legacy service has it */
  active_device_count: string;
  /** Devices assigned to it */
  assigned_count: number;
  /** Those of them that are active */
  active_assigned_count: number;
  /** Devices that are here because it is the default; 0 for others */
  following_default_count: number;
  /** Devices that belong to it and were last handed other settings */
  behind_count: number;
  /** When the devices were counted; a schedule does it every minute. Null: the broker was added since, and its counts are 0 */
  counted_at: string | null;
};

export type Problem = {
  type: string;
  title: string;
  status: number;
  detail: string;
  code: "invalid-request" | "malformed-json" | "missing-broker-fields" | "missing-credentials" | "missing-fields" | "nothing-to-update" | "authentication-failed" | "invalid-admin-credential" | "invalid-broker-secret" | "invalid-provisioning-key" | "key-mismatch" | "provisioning-key-exhausted" | "provisioning-key-expired" | "provisioning-key-revoked" | "unauthorized" | "admin-disabled" | "broker-auth-disabled" | "device-inactive" | "insufficient-scope" | "mqtt-access-refused" | "broker-config-not-found" | "bulk-assign-job-not-found" | "device-not-found" | "provisioning-key-not-found" | "route-not-found" | "broker-changing" | "broker-has-devices" | "broker-in-use" | "broker-name-taken" | "broker-needed" | "bulk-assign-job-ended" | "bulk-assign-job-open" | "bulk-assign-job-reverted" | "device-already-registered" | "device-in-other-fleet" | "unsealing-failed" | "precondition-failed" | "body-too-large" | "broker-draining" | "broker-inactive" | "broker-not-found" | "default-broker-inactive" | "idempotency-key-reused" | "no-default-broker" | "reassign-target-unusable" | "sealing-not-configured" | "broker-test-running" | "too-many-requests" | "internal" | "database-unavailable" | "issuer-unavailable" | "key-check-unfinished" | "no-broker-available" | "settings-unavailable";
  requestId: string;
  errors?: {
    path: string;
    message: string;
  }[];
  error: string;
  message: string;
};

export type GetMqttBrokersQuery = {
  /** Brokers per page. Default: 1000 */
  limit?: number;
  /** Brokers after this name: `next` of the previous page */
  after?: string;
};

export type PutMqttBrokersIdQuery = {
  /** Even if devices are left without a broker, or lose one that becomes inactive or is deleted */
  force?: boolean;
};

export type DeleteMqttBrokersIdQuery = {
  /** Even if devices are left without a broker, or lose one that becomes inactive or is deleted */
  force?: boolean;
  /** First moves its devices: to the broker with this id, or to whichever is the default */
  reassign_to?: "default" | number;
};

export type GetDevicesBulkAssignQuery = {
  /** Jobs per page, default 20 */
  limit?: number;
  /** Jobs older than this id; `next` of the previous page contains it */
  after?: number;
};

export type GetDevicesQuery = {
  /** Rows per page. Default: 100 */
  limit?: number;
  /** Rows after this id: `next` of the previous page */
  after?: number;
  /** Only this fleet */
  fleet_id?: string;
  /** Only devices assigned to this broker */
  broker_id?: number;
  /** true: only devices without an assignment; false: only those with one */
  unassigned?: boolean;
  /** Only this type */
  device_type?: string;
  /** Only active, or only inactive devices */
  is_active?: boolean;
  /** As the legacy service recorded it: Berth does not write `is_online`. false also reads devices that never were */
  online?: boolean;
  /** Only this region */
  region?: string;
  /** Only devices with all of these tags: site:berlin,line:3 */
  tags?: string;
  /** Only devices whose uuid or name begins with it */
  search?: string;
  /** true: only devices that were last handed other settings than their broker has now */
  behind?: "true";
};

export type GetDevicesUuidEventsQuery = {
  /** Rows per page. Default: 100 */
  limit?: number;
  /** Events before this id; `next` of the previous page has it */
  before?: number;
};

export type GetFleetsQuery = {
  /** Rows per page. Default: 100 */
  limit?: number;
  /** Fleets after this one: `next` of the previous page */
  after?: string;
};

export type GetMqttBrokersSummaryQuery = {
  /** Brokers per page. Default: 1000 */
  limit?: number;
  /** Brokers after this name: `next` of the previous page */
  after?: string;
};

export type GetProvisioningKeysQuery = {
  /** The fleet of the devices that register with the key */
  fleetId?: string;
  /** The fleet of the devices that register with the key */
  fleet_id?: string;
  /** Keys per page. Default: 1000 */
  limit?: number;
  after?: string;
};

export type GetDevicesBulkAssignIdDevicesQuery = {
  outcome?: "moved" | "already-there" | "skipped";
  /** Rows per page, default 100 */
  limit?: number;
  after?: string;
};

export type GetStatsQuery = {
  /** Of the points. Default: minute */
  resolution?: "minute" | "hour";
  /** Default: 3 hours before `to`, 7 days with `resolution=hour` */
  from?: string;
  /** Default: now */
  to?: string;
};

export type GetEventsQuery = {
  /** Events per page. Default: 50 */
  limit?: number;
  /** Events before this id; `next` of the previous page has it */
  before?: number;
  /** Of devices, or what operators did with brokers, keys and jobs. Default: both */
  kind?: "device" | "operator";
  type?: "registered" | "refused" | "moved" | "skipped" | "updated" | "fleet-changed" | "activated" | "deactivated" | "credentials-renewed" | "credentials-revoked" | "deleted" | "broker-created" | "broker-changed" | "default-changed" | "broker-deleted" | "broker-tested" | "key-issued" | "key-changed" | "key-revoked" | "job-created" | "job-cancelled" | "job-resumed";
  /** Who did it, such as `admin` or `schedule` */
  actor?: string;
  /** Of this broker, and of devices that came to it or left it */
  broker_id?: number;
  key_id?: string;
  /** Of this job, and of devices by this job */
  job_id?: number;
  /** Device identifier */
  device_uuid?: string;
};
