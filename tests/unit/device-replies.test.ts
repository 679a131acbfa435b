import { describe, expect, it } from 'vitest';
import { deviceTopic, formatMqtt, mqttUsername } from '../../lib/devices/mqtt-reply.ts';
import { type DeviceRow, formatDevice, formatResolvedBroker } from '../../lib/devices/row.ts';
import type { BrokerRow, ResolvedBroker } from '../../lib/resolution/broker-row.ts';

const row: BrokerRow = {
  id: 7,
  name: 'one',
  protocol: 'mqtts',
  host: 'one.example.com',
  port: 8883,
  use_tls: true,
  verify_certificate: true,
  client_id_prefix: 'berth',
  keep_alive: 60,
  clean_session: true,
  reconnect_period: 1_000,
  connect_timeout: 30_000,
  ca_cert: null,
  settings_hash: 'x',
};
const table: ResolvedBroker = { source: 'default', row };
const environment = { source: 'environment', url: 'mqtt://env.example.com' } as const;

describe('the mqtt object', () => {
  it('names username, password, broker, settings, topics and assignment', () => {
    expect(formatMqtt('device_u', 'secret', table)).toEqual({
      username: 'device_u',
      password: 'secret',
      broker: 'mqtts://one.example.com:8883',
      brokerConfig: expect.objectContaining({ host: 'one.example.com', useTls: true }),
      topics: { publish: ['iot/device/u/#'], subscribe: ['iot/device/u/#'] },
      assignment: { source: 'default', brokerId: 7, brokerName: 'one' },
      version: expect.stringMatching(/^[\w-]{16}$/),
    });
  });

  it('has no settings when MQTT_BROKER_URL answers, and no password that Berth does not know', () => {
    expect(formatMqtt('device_u', undefined, environment)).toEqual({
      username: 'device_u',
      broker: 'mqtt://env.example.com',
      topics: { publish: ['iot/device/u/#'], subscribe: ['iot/device/u/#'] },
      assignment: { source: 'environment', brokerId: null, brokerName: null },
      version: expect.any(String),
    });
  });

  it('changes its version with what the device must act on, and with nothing else', () => {
    const version = (broker: ResolvedBroker, password = 'secret') => formatMqtt('device_u', password, broker).version;
    const same = version(table);
    expect(version({ source: 'device', row: { ...row, id: 8, name: 'two', settings_hash: 'y' } })).toBe(same);
    for (const change of [{ port: 1 }, { keep_alive: 30 }, { ca_cert: 'PEM' }, { clean_session: false }]) {
      expect(version({ source: 'default', row: { ...row, ...change } }), JSON.stringify(change)).not.toBe(same);
    }
    expect(version(table, 'other')).not.toBe(same);
    expect(version(environment)).not.toBe(same);
  });

  it('the topic has the uuid as the username spells it', () => {
    expect(deviceTopic(mqttUsername('ABC'))).toBe('iot/device/ABC/#');
  });
});

describe('a device as operators see it', () => {
  const device = { id: 1, uuid: 'u' } as DeviceRow;

  it('times of the legacy columns are UTC, those of Berth have their zone', () => {
    const formatted = formatDevice({
      ...device,
      ...{ created_at: '2026-01-02T03:04:05.678', api_key_expires_at: '2026-01-02T03:04:05', provisioned_at: null },
      mqtt_broker_assigned_at: '2026-01-02T03:04:05+02:00',
    });
    expect(formatted).toMatchObject({
      created_at: '2026-01-02T03:04:05.678Z',
      api_key_expires_at: '2026-01-02T03:04:05.000Z',
      provisioned_at: null,
      mqtt_broker_assigned_at: '2026-01-02T01:04:05.000Z',
    });
  });

  it('big numbers are strings, NULL stays null, and the row itself is not changed', () => {
    const before = { ...device, memory_usage: 12, cpu_temp: 45.5, storage_total: null };
    expect(formatDevice(before)).toMatchObject({
      ...device,
      ...{ memory_usage: '12', cpu_temp: '45.5', storage_total: null },
    });
    expect(before.memory_usage).toBe(12);
  });

  it('its broker: source, id, name and address; null when there is none', () => {
    expect(formatResolvedBroker(undefined)).toBeNull();
    const url = 'mqtts://one.example.com:8883';
    expect(formatResolvedBroker(table)).toEqual({ source: 'default', id: 7, name: 'one', url });
    const { url: address } = environment;
    expect(formatResolvedBroker(environment)).toEqual({ source: 'environment', id: null, name: null, url: address });
  });
});
