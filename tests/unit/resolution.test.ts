import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { log } from '../../lib/log.ts';
import type { BrokerRow } from '../../lib/resolution/broker-row.ts';
import { buildBrokerUrl, formatBrokerConfigForClient } from '../../lib/resolution/client-config.ts';
import { explainResolution, type ResolutionStep } from '../../lib/resolution/explain.ts';
import { countResolution, noBroker, resolvedBroker, withBrokerLookup } from '../../lib/resolution/resolve.ts';
import { reloadSettings } from '../../lib/settings/settings.ts';

const setUrl = (url: string | undefined) => {
  vi.stubEnv('BERTH_PEPPER', 'p'.repeat(40));
  vi.stubEnv('DATABASE_URL', 'postgres://localhost/none');
  vi.stubEnv('MQTT_BROKER_URL', url ?? '');
  reloadSettings();
};
beforeEach(() => setUrl(undefined));
afterEach(() => {
  vi.unstubAllEnvs();
  vi.restoreAllMocks();
  reloadSettings();
});

const NULLS = {
  ...{ use_tls: null, verify_certificate: null, client_id_prefix: null, keep_alive: null, clean_session: null },
  ...{ reconnect_period: null, connect_timeout: null, ca_cert: null },
};
const row: BrokerRow = { id: 7, name: 'one', protocol: 'mqtt', host: 'h', port: 1883, settings_hash: 'x', ...NULLS };

describe('the settings that a device gets', () => {
  it('columns that are NULL get the defaults', () => {
    expect(formatBrokerConfigForClient(row)).toEqual({
      ...{ protocol: 'mqtt', host: 'h', port: 1883, useTls: false, verifyCertificate: true, clientIdPrefix: 'berth' },
      ...{ keepAlive: 60, cleanSession: true, reconnectPeriod: 1_000, connectTimeout: 30_000 },
    });
  });

  it('other columns are passed on, also false and 0', () => {
    const set = {
      ...{ use_tls: true, verify_certificate: false, client_id_prefix: '', keep_alive: 0, clean_session: false },
      ...{ reconnect_period: 0, connect_timeout: 0, ca_cert: 'PEM' },
    };
    expect(formatBrokerConfigForClient({ ...row, ...set })).toEqual({
      ...{ protocol: 'mqtt', host: 'h', port: 1883, useTls: true, verifyCertificate: false, clientIdPrefix: '' },
      ...{ keepAlive: 0, cleanSession: false, reconnectPeriod: 0, connectTimeout: 0, caCert: 'PEM' },
    });
  });

  it.each([
    ['mqtt', 'broker.example.com', 1883, 'mqtt://broker.example.com:1883'],
    ['wss', '192.0.2.1', 443, 'wss://192.0.2.1:443'],
    ['mqtts', '2001:db8::1', 8883, 'mqtts://[2001:db8::1]:8883'],
  ])('%s at %s, port %i: %s', (protocol, host, port, url) => {
    expect(buildBrokerUrl({ protocol, host, port })).toBe(url);
  });
});

describe('the broker that a step found', () => {
  it('is the one of the table, or MQTT_BROKER_URL, or none', () => {
    const found = { broker_source: 'default', broker: row } as const;
    const none = { broker_source: null, broker: null };
    expect(resolvedBroker(none)).toBeUndefined();
    setUrl('mqtt://env.example.com');
    expect(resolvedBroker(found)).toEqual({ source: 'default', row });
    expect(resolvedBroker(none)).toEqual({ source: 'environment', url: 'mqtt://env.example.com' });
    expect(resolvedBroker({ ...found, broker: null })).toMatchObject({ source: 'environment' });
    expect(resolvedBroker({ ...found, broker_source: null })).toMatchObject({ source: 'environment' });
  });

  it('a warning is logged only when the environment answered', () => {
    const warn = vi.spyOn(log, 'warn').mockImplementation(() => {});
    countResolution({ source: 'device', row });
    countResolution(undefined);
    expect(warn).not.toHaveBeenCalled();
    countResolution({ source: 'environment', url: 'mqtt://env.example.com' });
    expect(warn).toHaveBeenCalledOnce();
  });

  it('no broker: Retry-After is 30 to 59 s, spread', () => {
    const seconds = Array.from({ length: 500 }, () => noBroker().retryAfterSeconds as number);
    expect(Math.min(...seconds)).toBeGreaterThanOrEqual(30);
    expect(Math.max(...seconds)).toBeLessThan(60);
    expect(new Set(seconds).size).toBeGreaterThan(20);
  });
});

describe('a lookup that fails', () => {
  const failing = (code: string | undefined) => (lookup: boolean) =>
    lookup
      ? Promise.reject(Object.assign(new Error('failed'), code === undefined ? {} : { code }))
      : Promise.resolve('env');
  beforeEach(() => {
    vi.spyOn(log, 'warn').mockImplementation(() => {});
  });

  it.each(['42P01', '42501', 'XX001'])('%s: MQTT_BROKER_URL answers', async (code) => {
    setUrl('mqtt://env.example.com');
    expect(await withBrokerLookup(failing(code))).toBe('env');
    expect(log.warn).toHaveBeenCalledWith('broker lookup failed', { code });
  });

  it.each(['23505', '57014', '2XX42', undefined])('%s: the error is passed on', async (code) => {
    setUrl('mqtt://env.example.com');
    await expect(withBrokerLookup(failing(code))).rejects.toThrow('failed');
  });

  it('without MQTT_BROKER_URL the error is passed on', async () => {
    await expect(withBrokerLookup(failing('42P01'))).rejects.toThrow('failed');
  });
});

describe('a resolution in words', () => {
  const step = (number: number, fields: Partial<ResolutionStep>): ResolutionStep => ({
    ...{ number, source: 'device', broker_id: null, usable: false, skip_reason: 'none', broker: null },
    ...fields,
  });
  const usable = { broker_id: 7, usable: true, skip_reason: null, broker: row };

  it('the first usable step is taken, those before it are skipped, those behind it not reached', () => {
    setUrl('mqtt://env.example.com');
    const explained = explainResolution([
      step(1, {}),
      step(2, { source: 'provisioning_key', ...usable }),
      step(3, { source: 'default', ...usable }),
    ]);
    expect(explained).toEqual({
      broker: { source: 'provisioning_key', row },
      steps: [
        { step: 1, source: 'device', broker_id: null, outcome: 'skipped', why: 'the device has no assignment' },
        { step: 2, source: 'provisioning_key', broker_id: 7, outcome: 'taken', why: 'broker 7 (one) is active' },
        { step: 3, source: 'default', broker_id: 7, outcome: 'not reached', why: 'broker 7 (one) is active' },
        { step: 4, source: 'environment', broker_id: null, outcome: 'not reached', why: 'MQTT_BROKER_URL is set' },
      ],
      ifDefaultChanges: { moves: false, why: expect.any(String) },
    });
  });

  it.each([
    [step(1, {}), 'the device has no assignment'],
    [step(1, { source: 'provisioning_key' }), 'its provisioning key has no default broker'],
    [step(1, { source: 'default' }), 'no broker is the default'],
    [step(1, { broker_id: 9, skip_reason: 'missing' }), 'broker 9 does not exist'],
    [step(1, { broker_id: 7, skip_reason: 'inactive', broker: row }), 'broker 7 (one) is not active'],
    [step(1, { broker_id: 7, skip_reason: 'draining', broker: row }), 'broker 7 (one) is draining'],
  ])('a step that is skipped: %o', (skipped, why) => {
    expect(explainResolution([skipped]).steps[0]).toMatchObject({ outcome: 'skipped', why });
  });

  it('the environment is the last step: taken if it is set, otherwise skipped', () => {
    expect(explainResolution([step(1, {})])).toMatchObject({
      broker: undefined,
      steps: [{}, { step: 2, outcome: 'skipped', why: 'MQTT_BROKER_URL is not set' }],
    });
    setUrl('mqtt://env.example.com');
    expect(explainResolution([step(1, {})])).toMatchObject({
      broker: { source: 'environment' },
      steps: [{}, { step: 2, outcome: 'taken' }],
    });
  });

  it.each([
    ['device', false],
    ['provisioning_key', false],
    ['default', true],
  ] as const)('found by %s: another default moves the device: %s', (source, moves) => {
    expect(explainResolution([step(1, { source, ...usable })]).ifDefaultChanges.moves).toBe(moves);
  });

  it('without a broker, another default moves the device', () => {
    expect(explainResolution([]).ifDefaultChanges).toMatchObject({ moves: true });
  });
});
