import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import type { APIGatewayProxyStructuredResultV2 } from 'aws-lambda';
import { beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { reloadSettings } from '../../lib/settings/settings.ts';
import { buildPanelIfChanged } from '../../tools/build-panel.ts';
import { type Call, call, eventFor, lambdaContext, loadAll } from '../support/api.ts';
import { bundleFunction } from '../support/bundle.ts';

const DIST = new URL('../../panel/dist/', import.meta.url);
const SETTINGS = /^(ADMIN_|PANEL_|BERTH_STAGE$)/;
type Manifest = { assets: { path: string; type: string }[] };
let manifest: Manifest;

beforeAll(async () => {
  await buildPanelIfChanged();
  manifest = JSON.parse(readFileSync(new URL('manifest.json', DIST), 'utf8'));
  await loadAll();
}, 60_000);
beforeEach(() => setEnv({}));

function setEnv(env: Record<string, string>): void {
  for (const name of Object.keys(process.env)) if (SETTINGS.test(name)) delete process.env[name];
  Object.assign(process.env, env);
  reloadSettings();
}

/** The reply with its bytes, which `call` reads as text. */
async function bytesOf(target: string, headers: Record<string, string>) {
  const { route, event } = await eventFor(target, { headers });
  const reply: APIGatewayProxyStructuredResultV2 = await route.handler(event, lambdaContext());
  expect(reply.isBase64Encoded).toBe(true);
  return { headers: reply.headers ?? {}, bytes: Buffer.from(reply.body ?? '', 'base64') };
}

const file = (name: string) => readFileSync(new URL(name, DIST));
const asset = (pattern: RegExp) => manifest.assets.find(({ path }) => pattern.test(path)) as Manifest['assets'][0];
const coded = (coding: string) => ({ headers: { 'accept-encoding': coding } });

describe('the page', () => {
  it.each(['/', '/devices', '/devices/test-123', '/devices/a.b.c', '/brokers/1/edit', '/favicon.ico', '/apiary'])(
    'is the reply to GET %s',
    async (path) => {
      const reply = await call(`GET ${path}`);
      expect(reply).toMatchObject({ status: 200, text: file('index.html').toString() });
      expect(reply.headers).toMatchObject({ 'content-type': 'text/html; charset=utf-8', 'cache-control': 'no-cache' });
    },
  );

  it('304 without a body for its ETag, and for another coding another ETag', async () => {
    const { headers } = await call('GET /', coded('br'));
    const again = await call('GET /', {
      headers: { 'accept-encoding': 'br', 'if-none-match': headers.etag as string },
    });
    expect(again).toMatchObject({
      status: 304,
      text: '',
      headers: { etag: headers.etag, 'cache-control': 'no-cache' },
    });
    const gzip = await call('GET /', {
      headers: { 'accept-encoding': 'gzip', 'if-none-match': headers.etag as string },
    });
    expect(gzip.status).toBe(200);
    expect(gzip.headers.etag).not.toBe(headers.etag);
  });

  it('names only files that are there, and contains no code and no style', async () => {
    const { text } = await call('GET /');
    const named = [...text.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, name]) => name as string);
    expect(named.length).toBeGreaterThan(2);
    for (const name of named) expect((await call(`GET ${name}`)).status, name).toBe(200);
    expect(text).not.toMatch(/<script(?![^>]* src=)|<style|\son\w+=|\sstyle=/);
  });

  it('may load its own files and call its own API, and nothing else', async () => {
    const policy = (await call('GET /')).headers['content-security-policy'];
    expect(policy?.split('; ')).toEqual([
      "default-src 'none'",
      "base-uri 'none'",
      "form-action 'none'",
      "frame-ancestors 'none'",
      "script-src 'self'",
      "style-src 'self'",
      "img-src 'self'",
      "connect-src 'self'",
      "require-trusted-types-for 'script'",
      "trusted-types 'none'",
    ]);
  });

  it('may also call the issuer, if an operator signs in there', async () => {
    setEnv({
      ...jwt,
      PANEL_OIDC_CLIENT_ID: 'panel',
      PANEL_OIDC_ORIGINS: 'https://token.example.com/path, http://localhost:9',
    });
    const policy = (await call('GET /')).headers['content-security-policy'];
    expect(policy?.split('; ')).toContain(
      "connect-src 'self' https://login.example.com https://token.example.com http://localhost:9",
    );
  });
});

const jwt = { ADMIN_AUTH: 'jwt', ADMIN_JWT_ISSUER: 'https://login.example.com/pool' };

describe('an asset', () => {
  it('is kept for a year, has its type, and is the file that was built', async () => {
    for (const { path, type } of manifest.assets) {
      const { headers, bytes } = await bytesOf(`GET ${path}`, {});
      expect(headers).toMatchObject({
        'content-type': type,
        'cache-control': 'public, max-age=31536000, immutable',
        vary: 'accept-encoding',
      });
      expect(headers).not.toHaveProperty('content-encoding');
      expect(bytes.equals(file(path.slice(1))), path).toBe(true);
    }
  });

  it.each([
    ['gzip, deflate, br', 'br'],
    ['gzip', 'gzip'],
    ['br;q=0, gzip;q=0.5', 'gzip'],
    ['BR ; q=0.1', 'br'],
    ['*', 'br'],
    ['*;q=0, gzip', 'gzip'],
  ])('Accept-Encoding: %s gets %s', async (accepted, coding) => {
    const { path } = asset(/^\/assets\/main.*\.js$/);
    const { headers, bytes } = await bytesOf(`GET ${path}`, { 'accept-encoding': accepted });
    expect(headers['content-encoding']).toBe(coding);
    const decoded = coding === 'br' ? brotliDecompressSync(bytes) : gunzipSync(bytes);
    expect(decoded.equals(file(path.slice(1)))).toBe(true);
  });

  it.each(['', 'identity', 'deflate', 'br;q=0', 'brotli'])('Accept-Encoding: %s gets it as it is', async (accepted) => {
    const { headers } = await bytesOf(`GET ${asset(/\.css$/).path}`, { 'accept-encoding': accepted });
    expect(headers).not.toHaveProperty('content-encoding');
  });

  it.each(['/assets/main-OLDBUILD.js', '/assets/../manifest.json', '/assets/main.js.br', '/assets/%00'])(
    '404 %s, and not the page: it is not in this build',
    async (path) => {
      expect(await call(`GET ${path}`)).toMatchObject({ status: 404, body: { code: 'route-not-found' } });
    },
  );
});

describe('GET /api/…', () => {
  it.each(['/api', '/api/', '/api/v1/nothing', '/api/v2/devices', '//api/v1/nothing'])('404 %s', async (path) => {
    const reply = await call(`GET ${path}`);
    expect(reply).toMatchObject({ status: 404, body: { code: 'route-not-found' } });
    expect(reply.headers['content-type']).toBe('application/problem+json');
  });

  it('openapi.json is the document of docs/, compressed and with an ETag', async () => {
    const document = readFileSync(new URL('../../docs/openapi.json', import.meta.url));
    const { headers, bytes } = await bytesOf('GET /api/v1/openapi.json', { 'accept-encoding': 'br' });
    expect(headers).toMatchObject({ 'content-type': 'application/json', 'cache-control': 'no-cache' });
    expect(brotliDecompressSync(bytes).equals(document)).toBe(true);
    const gzipped = await bytesOf('GET /api/v1/openapi.json', { 'accept-encoding': 'gzip' });
    expect(gunzipSync(gzipped.bytes).equals(document)).toBe(true);
    const asked = { 'accept-encoding': 'br', 'if-none-match': String(headers.etag) };
    expect((await call('GET /api/v1/openapi.json', { headers: asked })).status).toBe(304);
  });
});

it('every reply of the panel has the headers that protect it, problems included', async () => {
  const paths = ['/', '/devices', asset(/\.js$/).path, '/api/v1/openapi.json', '/panel-settings.json', '/api/nothing'];
  for (const path of paths) {
    const { headers } = await call(`GET ${path}`);
    expect(headers, path).toMatchObject({
      'content-security-policy': expect.stringMatching(/^default-src 'none'; .*frame-ancestors 'none'/),
      'x-content-type-options': 'nosniff',
      'referrer-policy': 'no-referrer',
      'cross-origin-opener-policy': 'same-origin',
      'cross-origin-resource-policy': 'same-origin',
      'permissions-policy': expect.stringContaining('camera=()'),
    });
    expect(headers).not.toHaveProperty('access-control-allow-origin');
  }
});

it('whatever a proxy in front has in Authorization is none of the panel’s business', async () => {
  for (const target of ['GET /', 'GET /api/v1/openapi.json', 'GET /panel-settings.json']) {
    expect((await call(target, { headers: { authorization: 'Basic YTpi' } })).status, target).toBe(200);
  }
});

describe('GET /panel-settings.json', () => {
  const settingsFor = async (host?: string) => {
    const options: Call = host === undefined ? {} : { headers: { host } };
    const reply = await call('GET /panel-settings.json', options);
    expect(reply).toMatchObject({ status: 200, headers: { 'cache-control': 'no-store' } });
    return reply.body;
  };
  const local = { BERTH_STAGE: 'local', ADMIN_AUTH: 'token', PANEL_LOCAL_TOKEN: 'token-of-the-stack' };

  it.each([
    ['a token', { ADMIN_AUTH: 'token', BERTH_STAGE: 'prod' }, { stage: 'prod', auth: { kind: 'token' } }],
    ['a token of an issuer, pasted', jwt, { stage: 'berth', auth: { kind: 'token' } }],
    ['a token that the gateway verifies', { ...jwt, ADMIN_AUTH: 'none' }, { stage: 'berth', auth: { kind: 'token' } }],
    ['whatever is in front', { ADMIN_AUTH: 'none' }, { stage: 'berth', auth: { kind: 'gateway' } }],
    [
      'an issuer',
      { ...jwt, PANEL_OIDC_CLIENT_ID: 'panel' },
      {
        stage: 'berth',
        auth: {
          ...{ kind: 'oidc', issuer: 'https://login.example.com/pool', clientId: 'panel' },
          scopes: 'openid berth:read berth:write',
        },
      },
    ],
    [
      'an issuer with its own names for scopes',
      {
        ...jwt,
        PANEL_OIDC_CLIENT_ID: 'panel',
        ADMIN_JWT_READ_SCOPE: 'berth/read',
        ADMIN_JWT_WRITE_SCOPE: 'berth/write',
      },
      { auth: { scopes: 'openid berth/read berth/write' } },
    ],
    [
      'an issuer with other scopes',
      { ...jwt, PANEL_OIDC_CLIENT_ID: 'panel', PANEL_OIDC_SCOPES: 'openid groups' },
      { auth: { scopes: 'openid groups' } },
    ],
  ])('an operator signs in with %s', async (_what, env, expected) => {
    setEnv(env);
    const found = await settingsFor('berth.example.com');
    expect(found).toMatchObject(expected);
    expect(found).not.toHaveProperty('localToken');
    expect(found.auth).not.toHaveProperty('origins');
  });

  it.each(['localhost', 'localhost:4002', '127.0.0.1:4002', '[::1]:4002'])(
    'the local stack: its token for %s',
    async (host) => {
      setEnv(local);
      expect(await settingsFor(host)).toEqual({
        stage: 'local',
        auth: { kind: 'token' },
        localToken: 'token-of-the-stack',
      });
    },
  );

  it.each([
    [undefined, {}],
    ['attacker.example.com:4002', {}],
    ['localhost.attacker.example.com', {}],
    ['127.0.0.1.attacker.example.com', {}],
    ['localhost:4002@attacker.example.com', {}],
    ['192.168.1.2:4002', {}],
    ['localhost:4002', { BERTH_STAGE: 'prod' }],
    ['localhost:4002', { BERTH_STAGE: '' }],
  ])('no token for Host %s with %j', async (host, more) => {
    setEnv({ ...local, ...more });
    expect(await settingsFor(host)).not.toHaveProperty('localToken');
  });

  it.each([
    ['a client without an issuer', { PANEL_OIDC_CLIENT_ID: 'panel' }],
    [
      'an origin that would change the policy',
      { ...jwt, PANEL_OIDC_CLIENT_ID: 'panel', PANEL_OIDC_ORIGINS: "'unsafe-inline'" },
    ],
  ])('500 and no page with %s', async (_what, env) => {
    setEnv(env);
    expect(await call('GET /panel-settings.json')).toMatchObject({ status: 500, body: { code: 'internal' } });
    expect(await call('GET /')).toMatchObject({ status: 500, body: { code: 'internal' } });
  });
});

it('404 with a sentence that says what to do, when the panel is not built', async () => {
  const dir = mkdtempSync(path.join(tmpdir(), 'berth-panel-'));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  await bundleFunction('panel', dir);
  const { handler } = await import(pathToFileURL(path.join(dir, 'functions/panel.mjs')).href);
  const { event } = await eventFor('GET /devices');
  const { statusCode, body } = await handler(event, lambdaContext());
  const { code, detail } = JSON.parse(body);
  expect([statusCode, code]).toEqual([404, 'route-not-found']);
  expect(detail).toBe('The panel is not built. Run `npm run panel`, then load this page again.');
});
