import { describe, expect, it } from 'vitest';
import { readSettings } from '../../local/settings.ts';

describe('npm start refuses before anything starts, in one sentence that names the setting', () => {
  it.each([
    ['AUTO_ASSIGN_BROKER', 'yes'],
    ['BERTH_PEPPER', 'short'],
    ['BERTH_SEAL_KEY', 'short'],
    ['MQTT_BROKER_URL', 'broker.example.com'],
    ['LEGACY_HASHES', 'no'],
    ['EVENT_RETENTION_DAYS', '5'],
    ['BROKER_AUTH_SECRET_HASH', 'secret'],
    ['DATABASE_URL', 'garbage'],
    ['DATABASE_URL', 'mysql://user:password@host/database'],
    ['PORT', 'http'],
    ['MQTT_PORTS', '5883,5883'],
  ])('%s=%s', (name, value) => {
    expect(() => readSettings({ [name]: value })).toThrow(new RegExp(`^(PORT and )?${name} .*[^\\n]$`));
  });
});

it('npm start needs no setting', () => {
  expect(readSettings({ DATABASE_URL: '', BERTH_PEPPER: '' })).toEqual({
    port: 4002,
    mqttPorts: [5883, 5884],
    databaseUrl: undefined,
  });
});
