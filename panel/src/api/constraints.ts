// Generated from the specs by `npm run generate`.

import type { Fields } from './rules.ts';

export const BrokerChange: Fields = {
  "name": {
    "type": "string",
    "minLength": 1,
    "maxLength": 255,
    "pattern": "^[^\\u0000]*\\S[^\\u0000]*$",
    "description": "Its unique name"
  },
  "host": {
    "type": "string",
    "minLength": 1,
    "maxLength": 253,
    "description": "Host name, IPv4 or IPv6 address"
  },
  "port": {
    "type": "integer",
    "min": 1,
    "max": 65535,
    "description": "TCP port"
  },
  "description": {
    "type": "string",
    "nullable": true,
    "maxLength": 10000,
    "description": "For the operator"
  },
  "protocol": {
    "type": "string",
    "enum": [
      "mqtt",
      "mqtts",
      "ws",
      "wss"
    ],
    "description": "mqtts and wss use TLS"
  },
  "username": {
    "type": "string",
    "nullable": true,
    "maxLength": 255,
    "description": "The MQTT user that the connection test connects as"
  },
  "password": {
    "type": "string",
    "nullable": true,
    "minLength": 1,
    "maxLength": 1024,
    "description": "The password of this user; stored sealed, never returned"
  },
  "use_tls": {
    "type": "boolean",
    "description": "Follows from the protocol. A value that contradicts it is refused"
  },
  "ca_cert": {
    "type": "string",
    "nullable": true,
    "maxLength": 200000,
    "description": "The CAs that sign its certificate, PEM. Default: the system’s CAs"
  },
  "client_cert": {
    "type": "string",
    "nullable": true,
    "maxLength": 200000,
    "description": "The client certificate of the connection test, PEM. Set it together with client_key"
  },
  "client_key": {
    "type": "string",
    "nullable": true,
    "minLength": 1,
    "maxLength": 200000,
    "description": "The private key of client_cert, PEM; stored sealed, never returned"
  },
  "verify_certificate": {
    "type": "boolean",
    "description": "Whether clients verify its certificate"
  },
  "client_id_prefix": {
    "type": "string",
    "minLength": 1,
    "maxLength": 100,
    "description": "The prefix of MQTT client ids"
  },
  "keep_alive": {
    "type": "integer",
    "min": 1,
    "max": 65535,
    "description": "Seconds"
  },
  "clean_session": {
    "type": "boolean",
    "description": "MQTT clean session"
  },
  "reconnect_period": {
    "type": "integer",
    "min": 100,
    "max": 3600000,
    "description": "Milliseconds"
  },
  "connect_timeout": {
    "type": "integer",
    "min": 1000,
    "max": 300000,
    "description": "Milliseconds"
  },
  "is_active": {
    "type": "boolean",
    "description": "false: resolution skips it"
  },
  "is_default": {
    "type": "boolean",
    "description": "The broker of every device without another one. Setting it unsets the former default"
  },
  "broker_type": {
    "type": "string",
    "minLength": 1,
    "maxLength": 50,
    "description": "A label such as local, cloud or edge"
  },
  "extra_config": {
    "type": "object",
    "description": "Anything else, for the tools of the operator: at most 16,384 characters of JSON"
  },
  "accepts_new_devices": {
    "type": "boolean",
    "description": "false drains it: it keeps its devices and accepts no new ones"
  },
  "region": {
    "type": "string",
    "nullable": true,
    "maxLength": 100,
    "description": "Its location, for allocation policies"
  },
  "allocation_weight": {
    "type": "integer",
    "min": 1,
    "max": 1000,
    "description": "Its share of new devices, for allocation policies"
  },
  "close_former": {
    "type": "boolean",
    "description": "true: devices that no longer belong to this broker are refused here, even if they know no other one. If the broker becomes the default: at the former default"
  }
};

export const DeviceChange: Fields = {
  "mqtt_broker_id": {
    "type": "integer",
    "nullable": true,
    "min": 1,
    "max": 2147483647,
    "description": "The broker to assign; null: follow the default broker"
  },
  "device_name": {
    "type": "string",
    "minLength": 1,
    "maxLength": 255,
    "description": "Name for people"
  },
  "device_type": {
    "type": "string",
    "minLength": 1,
    "maxLength": 100,
    "description": "Kind of device"
  },
  "fleet_id": {
    "type": "string",
    "minLength": 1,
    "maxLength": 100,
    "description": "Its fleet. It stays registered with the provisioning key of its old one"
  },
  "is_active": {
    "type": "boolean",
    "description": "false: its MQTT user stops working immediately"
  },
  "close_former": {
    "type": "boolean",
    "description": "true: the broker that it was handed before refuses it, even if it knows no other one"
  },
  "reason": {
    "type": "string",
    "nullable": true,
    "maxLength": 1000,
    "description": "Why, for the record"
  }
};

export const NewBroker: Fields = {
  "name": {
    "type": "string",
    "required": true,
    "minLength": 1,
    "maxLength": 255,
    "pattern": "^[^\\u0000]*\\S[^\\u0000]*$",
    "description": "Its unique name"
  },
  "host": {
    "type": "string",
    "required": true,
    "minLength": 1,
    "maxLength": 253,
    "description": "Host name, IPv4 or IPv6 address"
  },
  "port": {
    "type": "integer",
    "required": true,
    "min": 1,
    "max": 65535,
    "description": "TCP port"
  },
  "description": {
    "type": "string",
    "nullable": true,
    "maxLength": 10000,
    "description": "For the operator"
  },
  "protocol": {
    "type": "string",
    "enum": [
      "mqtt",
      "mqtts",
      "ws",
      "wss"
    ],
    "description": "mqtts and wss use TLS"
  },
  "username": {
    "type": "string",
    "nullable": true,
    "maxLength": 255,
    "description": "The MQTT user that the connection test connects as"
  },
  "password": {
    "type": "string",
    "nullable": true,
    "minLength": 1,
    "maxLength": 1024,
    "description": "The password of this user; stored sealed, never returned"
  },
  "use_tls": {
    "type": "boolean",
    "description": "Follows from the protocol. A value that contradicts it is refused"
  },
  "ca_cert": {
    "type": "string",
    "nullable": true,
    "maxLength": 200000,
    "description": "The CAs that sign its certificate, PEM. Default: the system’s CAs"
  },
  "client_cert": {
    "type": "string",
    "nullable": true,
    "maxLength": 200000,
    "description": "The client certificate of the connection test, PEM. Set it together with client_key"
  },
  "client_key": {
    "type": "string",
    "nullable": true,
    "minLength": 1,
    "maxLength": 200000,
    "description": "The private key of client_cert, PEM; stored sealed, never returned"
  },
  "verify_certificate": {
    "type": "boolean",
    "description": "Whether clients verify its certificate"
  },
  "client_id_prefix": {
    "type": "string",
    "minLength": 1,
    "maxLength": 100,
    "description": "The prefix of MQTT client ids"
  },
  "keep_alive": {
    "type": "integer",
    "min": 1,
    "max": 65535,
    "description": "Seconds"
  },
  "clean_session": {
    "type": "boolean",
    "description": "MQTT clean session"
  },
  "reconnect_period": {
    "type": "integer",
    "min": 100,
    "max": 3600000,
    "description": "Milliseconds"
  },
  "connect_timeout": {
    "type": "integer",
    "min": 1000,
    "max": 300000,
    "description": "Milliseconds"
  },
  "is_active": {
    "type": "boolean",
    "description": "false: resolution skips it"
  },
  "is_default": {
    "type": "boolean",
    "description": "The broker of every device without another one. Setting it unsets the former default"
  },
  "broker_type": {
    "type": "string",
    "minLength": 1,
    "maxLength": 50,
    "description": "A label such as local, cloud or edge"
  },
  "extra_config": {
    "type": "object",
    "description": "Anything else, for the tools of the operator: at most 16,384 characters of JSON"
  },
  "accepts_new_devices": {
    "type": "boolean",
    "description": "false drains it: it keeps its devices and accepts no new ones"
  },
  "region": {
    "type": "string",
    "nullable": true,
    "maxLength": 100,
    "description": "Its location, for allocation policies"
  },
  "allocation_weight": {
    "type": "integer",
    "min": 1,
    "max": 1000,
    "description": "Its share of new devices, for allocation policies"
  }
};

export const NewJob: Fields = {
  "filter": {},
  "all": {
    "type": "boolean"
  },
  "target": {
    "type": "object",
    "required": true
  },
  "close_former": {
    "type": "boolean",
    "description": "The brokers that moved devices were handed before refuse them, even if they know no other one"
  },
  "dry_run": {
    "type": "boolean"
  },
  "reason": {
    "type": "string",
    "nullable": true,
    "maxLength": 1000,
    "description": "Why, for the record"
  },
  "max_per_minute": {
    "type": "integer",
    "min": 1,
    "max": 100000000,
    "description": "Limit for the devices moved in any 60 seconds"
  }
};

export const NewProvisioningKey: Fields = {
  "fleetId": {
    "type": "string",
    "minLength": 1,
    "maxLength": 100,
    "description": "The fleet of the devices that register with the key"
  },
  "fleet_id": {
    "type": "string",
    "minLength": 1,
    "maxLength": 100,
    "description": "The fleet of the devices that register with the key"
  },
  "maxDevices": {
    "type": "integer",
    "min": 1,
    "max": 10000,
    "description": "How many devices may register with it"
  },
  "max_devices": {
    "type": "integer",
    "min": 1,
    "max": 10000,
    "description": "How many devices may register with it"
  },
  "expiresInDays": {
    "type": "integer",
    "min": 1,
    "max": 3650,
    "description": "Days from now until it expires"
  },
  "expires_in_days": {
    "type": "integer",
    "min": 1,
    "max": 3650,
    "description": "Days from now until it expires"
  },
  "defaultBrokerId": {
    "type": "integer",
    "nullable": true,
    "min": 1,
    "max": 2147483647,
    "description": "The broker that its devices are assigned to; null: they follow the default broker"
  },
  "default_broker_id": {
    "type": "integer",
    "nullable": true,
    "min": 1,
    "max": 2147483647,
    "description": "The broker that its devices are assigned to; null: they follow the default broker"
  },
  "description": {
    "type": "string",
    "nullable": true,
    "maxLength": 1000,
    "description": "For the operator"
  }
};

export const PatchDevicesUuidActiveBody: Fields = {
  "is_active": {
    "type": "boolean",
    "required": true,
    "description": "false: its MQTT user stops working immediately"
  },
  "reason": {
    "type": "string",
    "nullable": true,
    "maxLength": 1000,
    "description": "Why, for the record"
  }
};

export const PostDevicesBulkAssignIdRevertBody: Fields = {
  "reason": {
    "type": "string",
    "nullable": true,
    "maxLength": 1000,
    "description": "Why, for the record"
  }
};

export const PutProvisioningKeysIdBody: Fields = {
  "maxDevices": {
    "type": "integer",
    "min": 1,
    "max": 10000,
    "description": "How many devices may register with it"
  },
  "max_devices": {
    "type": "integer",
    "min": 1,
    "max": 10000,
    "description": "How many devices may register with it"
  },
  "expiresAt": {
    "type": "string",
    "pattern": "^(?:(?:\\d\\d[2468][048]|\\d\\d[13579][26]|\\d\\d0[48]|[02468][048]00|[13579][26]00)-02-29|\\d{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\\d|30)|(?:02)-(?:0[1-9]|1\\d|2[0-8])))T(?:(?:[01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(?:\\.\\d+)?(?:Z|([+-](?:[01]\\d|2[0-3]):[0-5]\\d)))$",
    "description": "When it expires"
  },
  "expires_at": {
    "type": "string",
    "pattern": "^(?:(?:\\d\\d[2468][048]|\\d\\d[13579][26]|\\d\\d0[48]|[02468][048]00|[13579][26]00)-02-29|\\d{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\\d|30)|(?:02)-(?:0[1-9]|1\\d|2[0-8])))T(?:(?:[01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(?:\\.\\d+)?(?:Z|([+-](?:[01]\\d|2[0-3]):[0-5]\\d)))$",
    "description": "When it expires"
  },
  "expiresInDays": {
    "type": "integer",
    "min": 1,
    "max": 3650,
    "description": "Days from now until it expires"
  },
  "expires_in_days": {
    "type": "integer",
    "min": 1,
    "max": 3650,
    "description": "Days from now until it expires"
  },
  "defaultBrokerId": {
    "type": "integer",
    "nullable": true,
    "min": 1,
    "max": 2147483647,
    "description": "The broker that its devices are assigned to; null: they follow the default broker"
  },
  "default_broker_id": {
    "type": "integer",
    "nullable": true,
    "min": 1,
    "max": 2147483647,
    "description": "The broker that its devices are assigned to; null: they follow the default broker"
  },
  "description": {
    "type": "string",
    "nullable": true,
    "maxLength": 1000,
    "description": "For the operator; null or empty: none"
  }
};

export const Revocation: Fields = {
  "reason": {
    "type": "string",
    "nullable": true,
    "maxLength": 1000,
    "description": "Why, for the record"
  }
};

export const GetMqttBrokersQuery: Fields = {
  "limit": {
    "type": "integer",
    "min": 1,
    "max": 1000,
    "description": "Brokers per page. Default: 1000"
  },
  "after": {
    "type": "string",
    "maxLength": 255,
    "description": "Brokers after this name: `next` of the previous page"
  }
};

export const PutMqttBrokersIdQuery: Fields = {
  "force": {
    "type": "boolean",
    "description": "Even if devices are left without a broker, or lose one that becomes inactive or is deleted"
  }
};

export const DeleteMqttBrokersIdQuery: Fields = {
  "force": {
    "type": "boolean",
    "description": "Even if devices are left without a broker, or lose one that becomes inactive or is deleted"
  },
  "reassign_to": {
    "type": "string",
    "description": "First moves its devices: to the broker with this id, or to whichever is the default"
  }
};

export const GetDevicesBulkAssignQuery: Fields = {
  "limit": {
    "type": "integer",
    "min": 1,
    "max": 100,
    "description": "Jobs per page, default 20"
  },
  "after": {
    "type": "integer",
    "min": 1,
    "max": 2147483647,
    "description": "Jobs older than this id; `next` of the previous page contains it"
  }
};

export const GetDevicesQuery: Fields = {
  "limit": {
    "type": "integer",
    "min": 1,
    "max": 500,
    "description": "Rows per page. Default: 100"
  },
  "after": {
    "type": "integer",
    "min": 0,
    "max": 2147483647,
    "description": "Rows after this id: `next` of the previous page"
  },
  "fleet_id": {
    "type": "string",
    "maxLength": 100,
    "description": "Only this fleet"
  },
  "broker_id": {
    "type": "integer",
    "min": 1,
    "max": 2147483647,
    "description": "Only devices assigned to this broker"
  },
  "unassigned": {
    "type": "boolean",
    "description": "true: only devices without an assignment; false: only those with one"
  },
  "device_type": {
    "type": "string",
    "maxLength": 100,
    "description": "Only this type"
  },
  "is_active": {
    "type": "boolean",
    "description": "Only active, or only inactive devices"
  },
  "online": {
    "type": "boolean",
    "description": "As the legacy service recorded it: Berth does not write `is_online`. false also reads devices that never were"
  },
  "region": {
    "type": "string",
    "maxLength": 100,
    "description": "Only this region"
  },
  "tags": {
    "type": "string",
    "description": "Only devices with all of these tags: site:berlin,line:3"
  },
  "search": {
    "type": "string",
    "minLength": 1,
    "maxLength": 255,
    "description": "Only devices whose uuid or name begins with it"
  },
  "behind": {
    "type": "string",
    "description": "true: only devices that were last handed other settings than their broker has now"
  }
};

export const GetDevicesUuidEventsQuery: Fields = {
  "limit": {
    "type": "integer",
    "min": 1,
    "max": 500,
    "description": "Rows per page. Default: 100"
  },
  "before": {
    "type": "integer",
    "min": 1,
    "max": 9007199254740991,
    "description": "Events before this id; `next` of the previous page has it"
  }
};

export const GetFleetsQuery: Fields = {
  "limit": {
    "type": "integer",
    "min": 1,
    "max": 500,
    "description": "Rows per page. Default: 100"
  },
  "after": {
    "type": "string",
    "maxLength": 100,
    "description": "Fleets after this one: `next` of the previous page"
  }
};

export const GetMqttBrokersSummaryQuery: Fields = {
  "limit": {
    "type": "integer",
    "min": 1,
    "max": 1000,
    "description": "Brokers per page. Default: 1000"
  },
  "after": {
    "type": "string",
    "maxLength": 255,
    "description": "Brokers after this name: `next` of the previous page"
  }
};

export const GetProvisioningKeysQuery: Fields = {
  "fleetId": {
    "type": "string",
    "minLength": 1,
    "maxLength": 100,
    "description": "The fleet of the devices that register with the key"
  },
  "fleet_id": {
    "type": "string",
    "minLength": 1,
    "maxLength": 100,
    "description": "The fleet of the devices that register with the key"
  },
  "limit": {
    "type": "integer",
    "min": 1,
    "max": 1000,
    "description": "Keys per page. Default: 1000"
  },
  "after": {
    "type": "string",
    "pattern": "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"
  }
};

export const GetDevicesBulkAssignIdDevicesQuery: Fields = {
  "outcome": {
    "type": "string",
    "enum": [
      "moved",
      "already-there",
      "skipped"
    ]
  },
  "limit": {
    "type": "integer",
    "min": 1,
    "max": 10000,
    "description": "Rows per page, default 100"
  },
  "after": {
    "type": "string",
    "pattern": "^\\d{1,15}$"
  }
};

export const GetStatsQuery: Fields = {
  "resolution": {
    "type": "string",
    "enum": [
      "minute",
      "hour"
    ],
    "description": "Of the points. Default: minute"
  },
  "from": {
    "type": "string",
    "description": "Default: 3 hours before `to`, 7 days with `resolution=hour`"
  },
  "to": {
    "type": "string",
    "description": "Default: now"
  }
};

export const GetEventsQuery: Fields = {
  "limit": {
    "type": "integer",
    "min": 1,
    "max": 200,
    "description": "Events per page. Default: 50"
  },
  "before": {
    "type": "integer",
    "min": 1,
    "max": 9007199254740991,
    "description": "Events before this id; `next` of the previous page has it"
  },
  "kind": {
    "type": "string",
    "enum": [
      "device",
      "operator"
    ],
    "description": "Of devices, or what operators did with brokers, keys and jobs. Default: both"
  },
  "type": {
    "type": "string",
    "enum": [
      "registered",
      "refused",
      "moved",
      "skipped",
      "updated",
      "fleet-changed",
      "activated",
      "deactivated",
      "credentials-renewed",
      "credentials-revoked",
      "deleted",
      "broker-created",
      "broker-changed",
      "default-changed",
      "broker-deleted",
      "broker-tested",
      "key-issued",
      "key-changed",
      "key-revoked",
      "job-created",
      "job-cancelled",
      "job-resumed"
    ]
  },
  "actor": {
    "type": "string",
    "minLength": 1,
    "maxLength": 500,
    "description": "Who did it, such as `admin` or `schedule`"
  },
  "broker_id": {
    "type": "integer",
    "min": 1,
    "max": 2147483647,
    "description": "Of this broker, and of devices that came to it or left it"
  },
  "key_id": {
    "type": "string",
    "pattern": "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"
  },
  "job_id": {
    "type": "integer",
    "min": 1,
    "max": 2147483647,
    "description": "Of this job, and of devices by this job"
  },
  "device_uuid": {
    "type": "string",
    "minLength": 1,
    "maxLength": 255,
    "pattern": "^(?!(\\.{1,2}|bulk-assign)$)[A-Za-z0-9._:-]{1,255}$",
    "description": "Device identifier"
  }
};
