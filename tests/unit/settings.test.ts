import { afterEach, describe, expect, it } from 'vitest';
import {
  type Pepper,
  readSettings,
  reloadSettings,
  SettingsError,
  secretArns,
  settings,
  useSecrets,
} from '../../lib/settings/settings.ts';

const texts = (peppers: readonly Pepper[]) =>
  peppers.map(({ generation, key }) => [generation, key.export().toString()]);

const good = { DATABASE_URL: 'postgres://localhost/berth', BERTH_PEPPER: 'p'.repeat(32) };

const iam = {
  DATABASE_AUTH: 'iam',
  DATABASE_USER: 'berth_app',
  DATABASE_HOST: 'proxy',
  AWS_REGION: 'eu-central-1',
  AWS_ACCESS_KEY_ID: 'AKIAEXAMPLE',
  AWS_SECRET_ACCESS_KEY: 'secret',
};

it('reads the environment, and the result is frozen', () => {
  const settings = readSettings({
    ...good,
    AUTO_ASSIGN_BROKER: 'true',
    MQTT_BROKER_URL: 'mqtts://broker.example.com:8883',
  });
  expect(settings).toMatchObject({
    autoAssignBroker: true,
    mqttBrokerUrl: 'mqtts://broker.example.com:8883',
    mqttPasswordHash: 'pbkdf2',
    deviceKeyMinLength: 8,
    formerBrokerHours: 24,
    adminAuth: undefined,
  });
  expect(texts(settings.peppers)).toEqual([['1', 'p'.repeat(32)]]);
  expect(Object.isFrozen(settings)).toBe(true);
});

it('BERTH_PEPPER may list several generations, the current one first', () => {
  const { peppers } = readSettings({ ...good, BERTH_PEPPER: `2:${'n'.repeat(32)}, 1:${'o'.repeat(32)}` });
  expect(texts(peppers)).toEqual([
    ['2', 'n'.repeat(32)],
    ['1', 'o'.repeat(32)],
  ]);
});

describe('a missing or wrong setting is an error that names the variable', () => {
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
    ['DEVICE_KEY_MIN_LENGTH', { DEVICE_KEY_MIN_LENGTH: '0' }],
    ['DEVICE_KEY_MIN_LENGTH', { DEVICE_KEY_MIN_LENGTH: '256' }],
    ['DEVICE_KEY_MIN_LENGTH', { DEVICE_KEY_MIN_LENGTH: 'eight' }],
    ['MQTT_PASSWORD_HASH', { MQTT_PASSWORD_HASH: 'md5' }],
    ['AUTO_ASSIGN_BROKER', { AUTO_ASSIGN_BROKER: 'yes' }],
    ['LEGACY_HASHES', { LEGACY_HASHES: 'true' }],
    ['FORMER_BROKER_HOURS', { FORMER_BROKER_HOURS: '0' }],
    ['FORMER_BROKER_HOURS', { FORMER_BROKER_HOURS: '8761' }],
    ['EVENT_RETENTION_DAYS', { EVENT_RETENTION_DAYS: '89' }],
    ['EVENT_RETENTION_DAYS', { EVENT_RETENTION_DAYS: '-400' }],
    ['EVENT_RETENTION_DAYS', { EVENT_RETENTION_DAYS: 'forever' }],
    ['CLIENT_ADDRESS_HEADER', { CLIENT_ADDRESS_HEADER: 'x-forwarded-for' }],
    ['CLIENT_ADDRESS_HEADER', { CLIENT_ADDRESS_HEADER: 'X-Address-0123456789abcdef' }],
    ['ADMIN_AUTH', { ADMIN_AUTH: 'open' }],
    ['ADMIN_TOKEN_HASH', { ADMIN_AUTH: 'token' }],
    ['ADMIN_TOKEN_HASH', { ADMIN_AUTH: 'token', ADMIN_TOKEN_HASH: 'token' }],
    ['ADMIN_TOKEN_HASH', { ADMIN_AUTH: 'token', ADMIN_TOKEN_HASH: `${'a'.repeat(64)},` }],
    ['DATABASE_AUTH', { DATABASE_URL: '', DATABASE_AUTH: 'password' }],
    ['DATABASE_USER', { DATABASE_URL: '', ...iam, DATABASE_USER: '' }],
    ['DATABASE_HOST', { DATABASE_URL: '', ...iam, DATABASE_HOST: '' }],
    ['AWS_REGION', { DATABASE_URL: '', ...iam, AWS_REGION: '' }],
    ['AWS_SECRET_ACCESS_KEY', { DATABASE_URL: '', ...iam, AWS_SECRET_ACCESS_KEY: '' }],
  ])('%s (%j)', (name, wrong) => {
    expect(() => readSettings({ ...good, ...wrong })).toThrow(SettingsError);
    expect(() => readSettings({ ...good, ...wrong })).toThrow(name);
  });
});

it('events are kept for EVENT_RETENTION_DAYS, by default 400', () => {
  expect(readSettings(good).eventRetentionDays).toBe(400);
  expect(readSettings({ ...good, EVENT_RETENTION_DAYS: '90' }).eventRetentionDays).toBe(90);
});

describe('the database is the first that is set of', () => {
  const secret = { DATABASE_SECRET_ARN: 'arn:secret', DATABASE_HOST: 'cluster', DATABASE_NAME: 'devices' };

  it('DATABASE_URL', () => {
    expect(readSettings({ ...good, ...secret, ...iam }).database).toEqual({ by: 'url', url: good.DATABASE_URL });
  });

  it('DATABASE_SECRET_ARN', () => {
    expect(readSettings({ ...good, DATABASE_URL: '', ...iam, ...secret, DATABASE_PORT: '6432' }).database).toEqual({
      by: 'secret',
      secretArn: 'arn:secret',
      host: 'cluster',
      port: '6432',
      name: 'devices',
    });
  });

  it('DATABASE_AUTH=iam', () => {
    expect(readSettings({ ...good, DATABASE_URL: '', ...iam, AWS_SESSION_TOKEN: 'token' }).database).toEqual({
      by: 'iam',
      user: 'berth_app',
      host: 'proxy',
      port: '5432',
      name: 'berth',
      aws: { region: 'eu-central-1', accessKeyId: 'AKIAEXAMPLE', secretAccessKey: 'secret', sessionToken: 'token' },
    });
  });
});

it('reads the hashes of several tokens, in upper or lower case', () => {
  const [one, other] = ['a'.repeat(64), 'b'.repeat(64)];
  const settings = { ...good, ADMIN_AUTH: 'token', ADMIN_TOKEN_HASH: `${one.toUpperCase()} , ${other}` };
  expect(readSettings(settings).adminTokenHashes).toEqual([one, other]);
  expect(readSettings({ ...settings, ADMIN_READ_TOKEN_HASH: other }).adminReadTokenHashes).toEqual([other]);
});

describe('a function with only some settings', () => {
  const before = { ...process.env };
  const start = (env: Record<string, string>) => {
    process.env = { ...env };
    reloadSettings();
  };
  afterEach(() => {
    process.env = before;
    reloadSettings();
  });

  it('reads its settings, and an error names a setting that it reads and does not have', () => {
    start({ BROKER_AUTH_SECRET_HASH: 'a'.repeat(64), ADMIN_AUTH: 'token' });
    expect(settings().brokerSecretHash).toBe('a'.repeat(64));
    expect(() => settings().peppers).toThrow('BERTH_PEPPER is not set');
    expect(() => settings().database).toThrow('DATABASE_URL is not set');
    expect(() => settings().adminTokenHashes).toThrow('ADMIN_TOKEN_HASH is not set');
  });

  it('fails when any setting is wrong', () => {
    start({ BERTH_PEPPER: 'short' });
    expect(() => settings().brokerSecretHash).toThrow('BERTH_PEPPER is too short');
  });

  it('reads from Secrets Manager the settings that have an ARN and no value', () => {
    start({ BERTH_PEPPER_ARN: 'arn:pepper', BERTH_SEAL_KEY_ARN: 'arn:seal', BERTH_SEAL_KEY: 'set' });
    expect(secretArns()).toEqual([['BERTH_PEPPER', 'arn:pepper']]);
  });

  it('keeps the value in use when a new one is wrong', () => {
    start({});
    useSecrets({ BERTH_PEPPER: 'p'.repeat(32) });
    expect(() => useSecrets({ BERTH_PEPPER: 'short' })).toThrow('BERTH_PEPPER is too short');
    expect(texts(settings().peppers)).toEqual([['1', 'p'.repeat(32)]]);
  });
});
