import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { exportJWK, exportSPKI, generateKeyPair, SignJWT, UnsecuredJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { loadRoutes } from '../../docs/endpoints.ts';
import { sha256Hex } from '../../lib/crypto/hash.ts';
import { closeDatabase } from '../../lib/database/db.ts';
import { log } from '../../lib/log.ts';
import { call } from '../support/api.ts';
import {
  ADMIN_TOKEN,
  addBroker,
  type Berth,
  issueKey,
  newDevice,
  register,
  setEnv,
  startBerth,
} from '../support/berth.ts';

/** Every route is called with every kind of credential. */
const READ_TOKEN = 'read-token-of-the-tests';
const BROKER_SECRET = 'secret-of-the-brokers';
const AUDIENCE = 'berth';
const device = newDevice();
const other = newDevice();
let berth: Berth;
let provisioningKey: string;
let issuer: string;
let jwks: Server;
let tokens: Record<string, string>;
const credentials: Record<string, () => string | undefined> = {
  none: () => undefined,
  wrong: () => 'nonsense',
  "the device's": () => device.deviceApiKey,
  "another device's": () => other.deviceApiKey,
  'provisioning key': () => provisioningKey,
  'read-only token': () => READ_TOKEN,
  'admin token': () => ADMIN_TOKEN,
  "brokers' secret": () => BROKER_SECRET,
};
const jwtNames = [
  'berth:read',
  'berth:write',
  'no scope',
  'expired',
  'for someone else',
  'of another issuer',
  'of another key',
  'without exp',
  'alg none',
  'HS256 with the public key',
];
for (const name of jwtNames) credentials[`JWT ${name}`] = () => tokens[name];

const routes = await loadRoutes();
const routesOf = (name: string) => routes.map(({ endpoint }) => endpoint.spec).filter(({ auth }) => auth.name === name);
const adminRoutes = routesOf('admin');
const brokerRoutes = routesOf('broker');

beforeAll(async () => {
  berth = await startBerth();
  await addBroker(berth, { is_default: true });
  provisioningKey = (await issueKey()).key;
  await register(provisioningKey, device);
  await register(provisioningKey, other);
  await startIssuer();
});
afterAll(async () => {
  await berth.stop();
  jwks.close();
});

async function startIssuer(): Promise<void> {
  const [ours, theirs] = await Promise.all([generateKeyPair('ES256'), generateKeyPair('ES256')]);
  const jwk = { ...(await exportJWK(ours.publicKey)), kid: 'k', alg: 'ES256', use: 'sig' };
  jwks = createServer((_, response) => response.end(JSON.stringify({ keys: [jwk] })));
  await new Promise<void>((resolve) => jwks.listen(0, '127.0.0.1', () => resolve()));
  issuer = `http://127.0.0.1:${(jwks.address() as { port: number }).port}`;
  const claims = (scope: string) =>
    new SignJWT({ scope })
      .setProtectedHeader({ alg: 'ES256', kid: 'k' })
      .setSubject('operator')
      .setIssuer(issuer)
      .setAudience(AUDIENCE);
  const now = Math.floor(Date.now() / 1000);
  const later = now + 600;
  const publicKey = new TextEncoder().encode(await exportSPKI(ours.publicKey));
  tokens = {
    'berth:read': await claims('openid berth:read').setExpirationTime(later).sign(ours.privateKey),
    'berth:write': await claims('berth:write').setExpirationTime(later).sign(ours.privateKey),
    'no scope': await claims('openid').setExpirationTime(later).sign(ours.privateKey),
    expired: await claims('berth:write')
      .setExpirationTime(now - 60)
      .sign(ours.privateKey),
    'for someone else': await claims('berth:write').setAudience('other').setExpirationTime(later).sign(ours.privateKey),
    'of another issuer': await claims('berth:write')
      .setIssuer('https://other.example.com')
      .setExpirationTime(later)
      .sign(ours.privateKey),
    'of another key': await claims('berth:write').setExpirationTime(later).sign(theirs.privateKey),
    'without exp': await claims('berth:write').sign(ours.privateKey),
    'alg none': new UnsecuredJWT({ scope: 'berth:write' })
      .setIssuer(issuer)
      .setAudience(AUDIENCE)
      .setExpirationTime(later)
      .encode(),
    'HS256 with the public key': await new SignJWT({ scope: 'berth:write' })
      .setProtectedHeader({ alg: 'HS256', kid: 'k' })
      .setIssuer(issuer)
      .setAudience(AUDIENCE)
      .setExpirationTime(later)
      .sign(publicKey),
  };
}

const BROKER_AUTH_SECRET_HASH = sha256Hex(BROKER_SECRET);
/** The modes of ADMIN_AUTH, as environments. */
const modes = {
  unset: () => setEnv({ ADMIN_AUTH: '', BROKER_AUTH_SECRET_HASH }),
  token: () => setEnv({ ADMIN_READ_TOKEN_HASH: sha256Hex(READ_TOKEN), BROKER_AUTH_SECRET_HASH }),
  jwt: () =>
    setEnv({
      ADMIN_AUTH: 'jwt',
      ADMIN_JWT_ISSUER: issuer,
      ADMIN_JWT_AUDIENCE: AUDIENCE,
      ADMIN_JWT_JWKS_URL: `${issuer}/keys`,
      BROKER_AUTH_SECRET_HASH,
    }),
  none: () => setEnv({ ADMIN_AUTH: 'none', BROKER_AUTH_SECRET_HASH }),
};
type Mode = keyof typeof modes;

/** What an admin route must answer: `in` for authorised, or the code of a problem. */
function expected(mode: Mode, name: string, reads: boolean): string {
  if (mode === 'unset') return 'admin-disabled';
  if (mode === 'none') return 'in';
  if (name === 'none') return 'unauthorized';
  const [reading, writing] =
    mode === 'token' ? ['read-only token', 'admin token'] : ['JWT berth:read', 'JWT berth:write'];
  if (name === writing) return 'in';
  if (name === reading) return reads ? 'in' : 'insufficient-scope';
  return mode === 'jwt' && name === 'JWT no scope' ? 'insufficient-scope' : 'invalid-admin-credential';
}

const STATUS: Record<string, number> = {
  'admin-disabled': 403,
  unauthorized: 401,
  'insufficient-scope': 403,
  'invalid-admin-credential': 401,
};
const authorization = (credential: string | undefined): Record<string, string> =>
  credential === undefined ? {} : { authorization: `Bearer ${credential}` };
/** A path whose parameters match no row, so that an authorised request changes nothing. */
const harmless = (path: string) =>
  path
    .replace('{uuid}', 'nobody')
    .replace('provisioning-keys/{id}', 'provisioning-keys/00000000-0000-4000-8000-000000000000')
    .replace('{id}', '2147483647');

describe.each(Object.keys(modes) as Mode[])('ADMIN_AUTH %s', (mode) => {
  it.each(adminRoutes.map((spec) => [`${spec.method} ${spec.path}`, spec.method === 'GET'] as const))(
    '%s',
    async (route, reads) => {
      modes[mode]();
      for (const [name, credential] of Object.entries(credentials)) {
        const reply = await call(harmless(route), {
          headers: authorization(credential()),
          body: reads ? undefined : '{"x":',
        });
        const answer = expected(mode, name, reads);
        if (answer === 'in') expect([401, 403], `${name}: ${reply.body?.code}`).not.toContain(reply.status);
        else
          expect({ name, status: reply.status, code: reply.body.code }).toEqual({
            name,
            status: STATUS[answer],
            code: answer,
          });
      }
    },
  );
});

describe('a device route accepts only its own kind of key, whatever ADMIN_AUTH is', () => {
  const own: Record<string, string> = {
    'POST /api/v1/device/register': 'provisioning key',
    'GET /api/v1/device/{uuid}/mqtt': "the device's",
    'POST /api/v1/device/{uuid}/key-exchange': "the device's",
  };
  it.each((Object.keys(modes) as Mode[]).flatMap((mode) => Object.keys(own).map((route) => [mode, route] as const)))(
    '%s: %s',
    async (mode, route) => {
      modes[mode]();
      // All cases together send more wrong keys for the device than are allowed.
      await berth.sql('truncate refusal_counts');
      let ip = 0;
      for (const [name, credential] of Object.entries(credentials)) {
        const key = credential();
        const body = route.endsWith('register') ? device : { deviceApiKey: key };
        const { status } = await call(route.replace('{uuid}', device.uuid), {
          headers: authorization(key),
          ...(route.startsWith('GET') ? {} : { body }),
          ip: `203.0.113.${ip++}`,
        });
        const refused = name === 'none' && route.endsWith('key-exchange') ? [400] : [401, 400];
        if (name === own[route]) expect(status, name).toBe(200);
        else expect(refused, name).toContain(status);
      }
    },
  );

  it('every other route requires an admin or broker credential, except the panel and the description of the API', () => {
    const known = new Set([
      ...[...adminRoutes, ...brokerRoutes].map(({ path }) => path),
      ...Object.keys(own).map((route) => route.split(' ')[1]),
    ]);
    const rest = routes.map(({ endpoint }) => endpoint.spec.path).filter((path) => !known.has(path));
    expect(rest.sort()).toEqual(['/', '/api/v1/openapi.json', '/panel-settings.json', '/{path+}']);
  });
});

describe('a broker route accepts only the brokers’ secret', () => {
  const paths = brokerRoutes.map(({ method, path }) => `${method} ${path}`);

  it.each((Object.keys(modes) as Mode[]).flatMap((mode) => paths.map((route) => [mode, route] as const)))(
    '%s: %s',
    async (mode, route) => {
      modes[mode]();
      for (const [name, credential] of Object.entries(credentials)) {
        const secret = credential();
        const inQuery = secret === undefined ? {} : { query: { secret } };
        for (const sent of [{ headers: authorization(secret) }, inQuery]) {
          const { status, body } = await call(route, { ...sent, body: {} });
          const code = name === 'none' ? 'unauthorized' : 'invalid-broker-secret';
          if (name === "brokers' secret")
            expect({ status, result: body.result }, name).toEqual({ status: 200, result: 'deny' });
          else expect({ status, code: body.code }, name).toEqual({ status: 401, code });
        }
      }
    },
  );

  it.each(paths)('without BROKER_AUTH_SECRET_HASH every request is 403: %s', async (route) => {
    setEnv({ ADMIN_AUTH: 'none' });
    for (const credential of Object.values(credentials)) {
      const reply = await call(route, { headers: authorization(credential()), body: {} });
      expect(reply).toMatchObject({ status: 403, body: { code: 'broker-auth-disabled' } });
    }
  });

  it('during rotation of the brokers’ secret both secrets are accepted', async () => {
    setEnv({ BROKER_AUTH_SECRET_HASH: `${sha256Hex('next')}, ${BROKER_AUTH_SECRET_HASH.toUpperCase()}` });
    const status = async (secret: string) => (await call(paths[0] as string, { query: { secret }, body: {} })).status;
    expect(await Promise.all(['next', BROKER_SECRET, 'third'].map(status))).toEqual([200, 200, 401]);
  });

  it('an invalid BROKER_AUTH_SECRET_HASH is 500', async () => {
    setEnv({ BROKER_AUTH_SECRET_HASH: 'not-a-hash' });
    expect((await call(paths[0] as string, { query: { secret: 'not-a-hash' }, body: {} })).status).toBe(500);
  });
});

it('ADMIN_AUTH=none: the actor is the subject that the gateway’s JWT authorizer verified', async () => {
  setEnv({ ADMIN_AUTH: 'none' });
  const createdBy = async (authorizer?: object) => {
    const options = { body: { fleetId: 'fleet-a' }, ...(authorizer ? { authorizer } : {}) };
    const { body } = await call('POST /api/v1/provisioning-keys', options);
    return (await berth.sql('select created_by from provisioning_keys where id = $1', [body.id]))[0]?.created_by;
  };
  expect(await createdBy({ jwt: { claims: { sub: 'operator-7' } } })).toBe('admin:operator-7');
  expect([await createdBy({ lambda: {} }), await createdBy()]).toEqual(['admin', 'admin']);
});

it('ADMIN_AUTH=jwt: the scopes have the names that the issuer gives them', async () => {
  const names = { ADMIN_JWT_READ_SCOPE: 'openid', ADMIN_JWT_WRITE_SCOPE: 'berth:read' };
  const jwt = { ADMIN_JWT_ISSUER: issuer, ADMIN_JWT_AUDIENCE: AUDIENCE, ADMIN_JWT_JWKS_URL: `${issuer}/keys` };
  setEnv({ ADMIN_AUTH: 'jwt', ...jwt, ...names });
  const statusesOf = async (name: string) => {
    const headers = authorization(tokens[name]);
    const read = await call('GET /api/v1/devices', { headers });
    const written = await call('POST /api/v1/provisioning-keys', { headers, body: { fleetId: 'fleet-a' } });
    return [read.status, written.status];
  };
  // Its scopes: openid; openid and berth:read; berth:write.
  expect(await statusesOf('no scope')).toEqual([200, 403]);
  expect(await statusesOf('berth:read')).toEqual([200, 201]);
  expect(await statusesOf('berth:write')).toEqual([403, 403]);
});

it('an issuer whose keys cannot be fetched is 503, not 401', async () => {
  setEnv({
    ADMIN_AUTH: 'jwt',
    ADMIN_JWT_ISSUER: issuer,
    ADMIN_JWT_AUDIENCE: AUDIENCE,
    ADMIN_JWT_JWKS_URL: 'http://127.0.0.1:9/keys',
  });
  const reply = await call('GET /api/v1/devices', { headers: authorization(tokens['berth:read']) });
  expect(reply).toMatchObject({ status: 503, body: { code: 'issuer-unavailable' } });
  expect(reply.headers['retry-after']).toBeDefined();
});

it.each([
  ['500', 500, '{"keys":[]}'],
  ['404', 404, 'Not found'],
  ['a redirect', 302, ''],
  ['a page of HTML', 200, '<!doctype html><title>Maintenance</title>'],
  ['JSON that is not a key set', 200, '{}'],
  ['an unreadable body', 200, '{"keys":['],
  ['a key set without keys', 200, '{"keys":[]}'],
])('an issuer that answers %s is 503, not 401, until it answers with a key set', async (_, statusCode, text) => {
  let answer: [number, string] = [statusCode, text];
  const broken = createServer((_request, response) => response.writeHead(answer[0]).end(answer[1]));
  await new Promise<void>((resolve) => broken.listen(0, '127.0.0.1', resolve));
  const { port } = broken.address() as AddressInfo;
  const jwksUrl = `http://127.0.0.1:${port}/keys`;
  setEnv({ ADMIN_AUTH: 'jwt', ADMIN_JWT_ISSUER: issuer, ADMIN_JWT_AUDIENCE: AUDIENCE, ADMIN_JWT_JWKS_URL: jwksUrl });
  const ask = () => call('GET /api/v1/devices', { headers: authorization(tokens['berth:read']) });
  try {
    for (let attempt = 0; attempt < 2; attempt++) {
      const reply = await ask();
      expect(reply).toMatchObject({ status: 503, body: { code: 'issuer-unavailable' } });
      expect(reply.headers['retry-after']).toBe('5');
    }
    const { publicKey } = await generateKeyPair('ES256', { extractable: true });
    answer = [200, JSON.stringify({ keys: [{ ...(await exportJWK(publicKey)), kid: 'another', alg: 'ES256' }] })];
    expect(await ask(), 'the key of the token is not in the set').toMatchObject({ status: 401 });
    const nonsense = { headers: authorization('nonsense') };
    expect(await call('GET /api/v1/devices', nonsense)).toMatchObject({ status: 401 });
  } finally {
    broken.close();
  }
});

it.each([
  { ADMIN_JWT_ISSUER: '' },
  { ADMIN_JWT_AUDIENCE: '' },
  { ADMIN_JWT_JWKS_URL: 'ftp://issuer.example.com/keys' },
])('a missing or invalid setting for JWTs is 500, and the log names it (%j)', async (wrong) => {
  const settings = { ADMIN_AUTH: 'jwt', ADMIN_JWT_ISSUER: issuer, ADMIN_JWT_AUDIENCE: AUDIENCE };
  setEnv({ ...settings, ADMIN_JWT_JWKS_URL: `${issuer}/keys`, ...wrong });
  const critical = vi.spyOn(log, 'critical');
  const reply = await call('GET /api/v1/devices', { headers: authorization(tokens['berth:write']) });
  expect(reply).toMatchObject({ status: 500, body: { code: 'internal' } });
  const reason = expect.stringContaining(Object.keys(wrong)[0] as string);
  expect(critical).toHaveBeenLastCalledWith('not configured', expect.objectContaining({ reason }));
});

it('during rotation of admin tokens both are accepted, each with its scope', async () => {
  setEnv({
    ADMIN_TOKEN_HASH: `${sha256Hex('next')},${sha256Hex(ADMIN_TOKEN)}`,
    ADMIN_READ_TOKEN_HASH: `${sha256Hex(READ_TOKEN)}, ${sha256Hex('next-read')}`,
  });
  const status = async (method: string, token: string) => {
    const options = { headers: authorization(token), body: { device_name: 'renamed' } };
    return (await call(`${method} /api/v1/devices/${device.uuid}`, options)).status;
  };
  const all = ['next', ADMIN_TOKEN, 'next-read', READ_TOKEN, 'third'];
  expect(await Promise.all(all.map((token) => status('GET', token)))).toEqual([200, 200, 200, 200, 401]);
  expect(await Promise.all(all.map((token) => status('PUT', token)))).toEqual([200, 200, 403, 403, 401]);
});

it('the actor of an event is the subject of the JWT', async () => {
  modes.jwt();
  await call(`PUT /api/v1/devices/${device.uuid}`, {
    headers: authorization(tokens['berth:write']),
    body: { device_name: 'x' },
  });
  const [event] = await berth.sql('select actor from device_events order by id desc limit 1');
  expect(event?.actor).toBe('admin:operator');
});

it('401 without a database: every operators’ route rejects a missing and a wrong token, however many there are', async () => {
  await closeDatabase();
  const { DATABASE_URL = '' } = process.env;
  setEnv({ DATABASE_URL: 'postgres://127.0.0.1:9/none' });
  onTestFinished(() => setEnv({ DATABASE_URL }));
  const ofOperators = (await loadRoutes()).filter(({ endpoint }) => endpoint.spec.auth.name === 'admin');
  expect(ofOperators.length).toBeGreaterThan(20);
  for (const { endpoint } of ofOperators) {
    const target = `${endpoint.spec.method} ${endpoint.spec.path.replace(/\{\w+\}/g, '1')}`;
    const missing = await call(target);
    expect([missing.status, missing.body.code], target).toEqual([401, 'unauthorized']);
    const wrong = await call(target, { headers: authorization('wrong') });
    expect([wrong.status, wrong.body.code], target).toEqual([401, 'invalid-admin-credential']);
  }
});
