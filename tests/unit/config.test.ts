import { describe, expect, it } from 'vitest';
import { ConfigError, readConfig } from '../../lib/config.ts';

const good = { DATABASE_URL: 'postgres://localhost/berth', BERTH_PEPPER: 'p'.repeat(32) };

it('reads what is there and is frozen', () => {
  const settings = readConfig({
    ...good,
    AUTO_ASSIGN_BROKER: 'true',
    MQTT_BROKER_URL: 'mqtts://broker.example.com:8883',
  });
  expect(settings).toMatchObject({
    peppers: [{ generation: '1', secret: 'p'.repeat(32) }],
    autoAssignBroker: true,
    mqttBrokerUrl: 'mqtts://broker.example.com:8883',
    mqttPasswordHash: 'pbkdf2',
    adminAuth: undefined,
  });
  expect(Object.isFrozen(settings)).toBe(true);
});

it('reads several generations of the pepper, the current one first', () => {
  const { peppers } = readConfig({ ...good, BERTH_PEPPER: `2:${'n'.repeat(32)}, 1:${'o'.repeat(32)}` });
  expect(peppers.map(({ generation }) => generation)).toEqual(['2', '1']);
});

describe('refuses to start, naming the variable', () => {
  it.each([
    ['DATABASE_URL', { DATABASE_URL: '' }],
    ['DATABASE_URL', { DATABASE_URL: 'mysql://localhost/berth' }],
    ['DATABASE_URL', { DATABASE_URL: 'postgres://one,two:5432/berth' }],
    ['DATABASE_URL', { DATABASE_URL: 'postgres://one:5432,two:5432/berth' }],
    ['BERTH_PEPPER', { BERTH_PEPPER: undefined }],
    ['BERTH_PEPPER', { BERTH_PEPPER: 'short' }],
    ['BERTH_PEPPER', { BERTH_PEPPER: `${'a'.repeat(32)},${'b'.repeat(32)}` }],
    ['BERTH_PEPPER', { BERTH_PEPPER: `1:${'a'.repeat(32)},1:${'b'.repeat(32)}` }],
    ['MQTT_BROKER_URL', { MQTT_BROKER_URL: 'http://broker' }],
    ['MQTT_PASSWORD_HASH', { MQTT_PASSWORD_HASH: 'md5' }],
    ['AUTO_ASSIGN_BROKER', { AUTO_ASSIGN_BROKER: 'yes' }],
    ['ADMIN_AUTH', { ADMIN_AUTH: 'open' }],
    ['ADMIN_TOKEN_HASH', { ADMIN_AUTH: 'token' }],
    ['ADMIN_TOKEN_HASH', { ADMIN_AUTH: 'token', ADMIN_TOKEN_HASH: 'token' }],
  ])('%s (%j)', (name, wrong) => {
    expect(() => readConfig({ ...good, ...wrong })).toThrow(ConfigError);
    expect(() => readConfig({ ...good, ...wrong })).toThrow(name);
  });
});
