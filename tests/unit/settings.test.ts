import { afterEach, describe, expect, it } from 'vitest';
import {
  type Pepper,
  readSettings,
  reloadSettings,
  SettingsError,
  secretArns,
  secretsTtlMs,
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
    ['DATABASE_PREPARE', { DATABASE_PREPARE: 'no' }],
    ['DATABASE_URL', { DATABASE_URL: 'x-postgres://localhost/berth' }],
    ['EVENT_RETENTION_DAYS', { EVENT_RETENTION_DAYS: '100000' }],
    ['EVENT_RETENTION_DAYS', { EVENT_RETENTION_DAYS: '1e3' }],
    ['EVENT_RETENTION_DAYS', { EVENT_RETENTION_DAYS: '0x100' }],
    ['DEVICE_KEY_MIN_LENGTH', { DEVICE_KEY_MIN_LENGTH: '1e2' }],
    ['DEVICE_KEY_MIN_LENGTH', { DEVICE_KEY_MIN_LENGTH: '0x8' }],
    ['FORMER_BROKER_HOURS', { FORMER_BROKER_HOURS: '1e2' }],
    ['FORMER_BROKER_HOURS', { FORMER_BROKER_HOURS: '0x8' }],
    ['MQTT_BROKER_URL', { MQTT_BROKER_URL: 'http+mqtt://broker' }],
    ['MQTT_BROKER_URL', { MQTT_BROKER_URL: 'mqtt://' }],
    ['BERTH_PEPPER', { BERTH_PEPPER: `2:${'a'.repeat(32)},1:short` }],
    ['BERTH_PEPPER', { BERTH_PEPPER: `2:${'a'.repeat(32)},${'b'.repeat(32)}` }],
    ['BERTH_SEAL_KEY', { BERTH_SEAL_KEY: `2:${'a'.repeat(64)},1:short` }],
    ['BERTH_SEAL_KEY', { BERTH_SEAL_KEY: `2:${'a'.repeat(64)},2:${'b'.repeat(64)}` }],
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

describe('what a setting is', () => {
  const HASH = 'a'.repeat(64);
  const OTHER = 'b'.repeat(64);
  const token = { ADMIN_AUTH: 'token', ADMIN_TOKEN_HASH: HASH };

  it('without its variable', () => {
    expect(readSettings(good)).toMatchObject({
      ...{ databaseCa: undefined, databasePrepare: true, databaseAppUser: undefined, databaseMqttAuthUser: undefined },
      ...{ sealKeys: [], isLocalStack: false, mqttBrokerUrl: undefined, autoAssignBroker: false },
      ...{ keepLegacyHashes: false, eventRetentionDays: 400, clientAddressHeader: undefined },
      ...{ adminTokenHashes: [], adminReadTokenHashes: [], brokerSecretHash: undefined },
      adminJwt: {
        ...{ issuer: undefined, audience: undefined, jwksUrl: undefined, audienceClaim: 'aud', scopeClaim: undefined },
        scopes: { read: 'berth:read', write: 'berth:write' },
      },
    });
  });

  it.each([
    [{ DATABASE_CA: 'pem' }, { databaseCa: 'pem' }],
    [{ DATABASE_PREPARE: 'false' }, { databasePrepare: false }],
    [{ DATABASE_PREPARE: 'true' }, { databasePrepare: true }],
    [{ DATABASE_APP_USER: 'app' }, { databaseAppUser: 'app' }],
    [{ DATABASE_MQTT_AUTH_USER: 'auth' }, { databaseMqttAuthUser: 'auth' }],
    [{ BERTH_STAGE: 'local' }, { isLocalStack: true }],
    [{ BERTH_STAGE: 'prod' }, { isLocalStack: false }],
    [{ AUTO_ASSIGN_BROKER: 'false' }, { autoAssignBroker: false }],
    [{ MQTT_PASSWORD_HASH: 'bcrypt' }, { mqttPasswordHash: 'bcrypt' }],
    [{ LEGACY_HASHES: 'keep' }, { keepLegacyHashes: true }],
    [{ LEGACY_HASHES: 'upgrade' }, { keepLegacyHashes: false }],
    [{ EVENT_RETENTION_DAYS: '90' }, { eventRetentionDays: 90 }],
    [{ DEVICE_KEY_MIN_LENGTH: '1' }, { deviceKeyMinLength: 1 }],
    [{ DEVICE_KEY_MIN_LENGTH: '255' }, { deviceKeyMinLength: 255 }],
    [{ FORMER_BROKER_HOURS: '1' }, { formerBrokerHours: 1 }],
    [{ FORMER_BROKER_HOURS: '8760' }, { formerBrokerHours: 8760 }],
    [{ CLIENT_ADDRESS_HEADER: `x-${'a'.repeat(22)}` }, { clientAddressHeader: `x-${'a'.repeat(22)}` }],
    [{ ...token }, { adminTokenHashes: [HASH], adminReadTokenHashes: [] }],
    [{ ...token, ADMIN_READ_TOKEN_HASH: `${HASH},${OTHER}` }, { adminReadTokenHashes: [HASH, OTHER] }],
    [{ ...token, ADMIN_READ_TOKEN_HASH: `${HASH} , ${OTHER}` }, { adminReadTokenHashes: [HASH, OTHER] }],
    // Only a token has a hash: what another way of authentication does not read may be wrong.
    [
      { ...token, ADMIN_AUTH: 'none', ADMIN_TOKEN_HASH: 'x' },
      { adminTokenHashes: [], adminReadTokenHashes: [] },
    ],
    [{ BROKER_AUTH_SECRET_HASH: HASH }, { brokerSecretHash: HASH }],
    [{ MQTT_BROKER_URL: 'mqtt://host' }, { mqttBrokerUrl: 'mqtt://host' }],
    [{ MQTT_BROKER_URL: 'ws://host' }, { mqttBrokerUrl: 'ws://host' }],
    [{ MQTT_BROKER_URL: 'wss://host' }, { mqttBrokerUrl: 'wss://host' }],
    [
      {
        ...{ ADMIN_JWT_ISSUER: 'https://i', ADMIN_JWT_AUDIENCE: 'a', ADMIN_JWT_JWKS_URL: 'https://k' },
        ...{ ADMIN_JWT_AUDIENCE_CLAIM: 'client_id', ADMIN_JWT_SCOPE_CLAIM: 'groups' },
        ...{ ADMIN_JWT_READ_SCOPE: 'berth/read', ADMIN_JWT_WRITE_SCOPE: 'berth/write' },
      },
      {
        adminJwt: {
          ...{ issuer: 'https://i', audience: 'a', jwksUrl: 'https://k' },
          ...{ audienceClaim: 'client_id', scopeClaim: 'groups' },
          scopes: { read: 'berth/read', write: 'berth/write' },
        },
      },
    ],
  ])('with %j', (env, expected) => {
    expect(readSettings({ ...good, ...env })).toMatchObject(expected);
  });

  it('a choice that does not exist is named, with those that do', () => {
    expect(() => readSettings({ ...good, LEGACY_HASHES: 'no' })).toThrow(
      'LEGACY_HASHES is "no": it must be upgrade or keep, or unset.',
    );
  });

  it('a seal key of 32 bytes may be hex or base64, which can look like hex', () => {
    const keyOf = (text: string) => readSettings({ ...good, BERTH_SEAL_KEY: text }).sealKeys[0]?.key.toString('hex');
    expect(keyOf(HASH)).toBe(HASH);
    expect(keyOf(HASH.toUpperCase())).toBe(HASH);
    const bytes = Buffer.alloc(32, 0xb6);
    expect(keyOf(bytes.toString('base64'))).toBe(bytes.toString('hex'));
  });

  it('a generation has up to 16 letters and digits', () => {
    const { peppers } = readSettings({ ...good, BERTH_PEPPER: `Spring2026:${'n'.repeat(32)}` });
    expect(texts(peppers)).toEqual([['Spring2026', 'n'.repeat(32)]]);
  });

  it('a value of Secrets Manager is used for SECRETS_TTL_SECONDS, by default 5 minutes', () => {
    const before = process.env.SECRETS_TTL_SECONDS;
    try {
      delete process.env.SECRETS_TTL_SECONDS;
      expect(secretsTtlMs()).toBe(300_000);
      process.env.SECRETS_TTL_SECONDS = '2';
      expect(secretsTtlMs()).toBe(2_000);
      process.env.SECRETS_TTL_SECONDS = 'x';
      expect(secretsTtlMs()).toBe(300_000);
    } finally {
      if (before === undefined) delete process.env.SECRETS_TTL_SECONDS;
      else process.env.SECRETS_TTL_SECONDS = before;
    }
  });
});
