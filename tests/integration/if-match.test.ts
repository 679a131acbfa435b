import { randomBytes } from 'node:crypto';
import { beforeEach, describe, expect, it } from 'vitest';
import { type Call, call } from '../support/api.ts';
import { addBroker, admin, issueKey, newDevice, register, setEnv, useBerth } from '../support/berth.ts';

const SEAL_KEY = randomBytes(32).toString('base64');
const berth = useBerth();
beforeEach(() => setEnv({ BERTH_SEAL_KEY: SEAL_KEY }));

const send = (method: string, path: string, options: Call = {}) =>
  call(`${method} ${path}`, { ...options, headers: { ...admin, ...options.headers } });
const ifMatch = (value: string) => ({ headers: { 'if-match': value } });

/** The two kinds: how one is made, changed and changed by somebody else, and its row. */
const kinds = {
  broker: {
    path: '/api/v1/mqtt/brokers',
    make: () => addBroker(berth),
    change: { keep_alive: 30 },
    theirs: { description: 'theirs' },
    isThere: async (id: unknown) =>
      (await berth.sql('select from mqtt_broker_config where id = $1', [id])).length === 1,
  },
  'provisioning key': {
    path: '/api/v1/provisioning-keys',
    make: async () => (await issueKey()).id,
    change: { max_devices: 7 },
    theirs: { description: 'theirs' },
    isThere: async (id: unknown) =>
      (await berth.sql('select from provisioning_keys where id = $1 and is_active', [id])).length === 1,
  },
};

describe.each(Object.entries(kinds))('If-Match: %s', (_, { path, make, change, theirs, isThere }) => {
  const prepared = async () => {
    const target = `${path}/${await make()}`;
    const { headers } = await send('GET', target);
    return { target, id: target.split('/').at(-1), etag: headers.etag as string };
  };

  it('GET has a strong ETag, which a change replaces, and a change to the same values keeps', async () => {
    const { target, etag } = await prepared();
    expect(etag).toMatch(/^"[0-9a-f]{32}"$/);
    const changed = await send('PUT', target, { body: change });
    expect(changed.headers.etag).not.toBe(etag);
    expect((await send('GET', target)).headers.etag).toBe(changed.headers.etag);
    const same = await send('PUT', target, { body: change });
    expect({ status: same.status, etag: same.headers.etag }).toEqual({ status: 200, etag: changed.headers.etag });
  });

  it.each([
    ['the tag', (etag: string) => etag],
    ['a list with it', (etag: string) => `"other", ${etag}`],
    ['*', () => '*'],
  ])('200: PUT and DELETE with %s', async (_name, header) => {
    const { target, id, etag } = await prepared();
    const reply = await send('PUT', target, { body: change, ...ifMatch(header(etag)) });
    expect(reply).toMatchObject({ status: 200 });
    expect((await send('DELETE', target, ifMatch(header(reply.headers.etag as string)))).status).toBe(200);
    expect(await isThere(id)).toBe(false);
  });

  it.each([
    ['another tag', () => '"other"'],
    ['the weak tag', (etag: string) => `W/${etag}`],
    ['"*" in quotes', () => '"*"'],
    ['an empty value', () => ''],
  ])('412: PUT and DELETE with %s; nothing changes', async (_name, header) => {
    const { target, id, etag } = await prepared();
    for (const [method, body] of [
      ['PUT', change],
      ['DELETE', undefined],
    ] as const) {
      const reply = await send(method, target, { ...(body ? { body } : {}), ...ifMatch(header(etag)) });
      expect(reply, method).toMatchObject({ status: 412, body: { code: 'precondition-failed', etag } });
    }
    expect((await send('GET', target)).headers.etag).toBe(etag);
    expect(await isThere(id)).toBe(true);
  });

  it('412 after the change of another operator: the problem has the row and the tag with which the change succeeds', async () => {
    const { target, etag } = await prepared();
    expect((await send('PUT', target, { body: theirs })).status).toBe(200);
    const refused = await send('PUT', target, { body: change, ...ifMatch(etag) });
    const { body: now } = await send('GET', target);
    expect(refused).toMatchObject({ status: 412, body: { current: theirs } });
    expect(refused.body.current).toEqual(now.data ?? now);
    const merged = await send('PUT', target, { body: change, ...ifMatch(refused.body.etag) });
    expect(merged).toMatchObject({
      status: 200,
      body: path.endsWith('brokers') ? { data: { ...theirs, ...change } } : { ...theirs, ...change },
    });
  });

  it('of five simultaneous changes of one version, one succeeds', async () => {
    const { target, etag } = await prepared();
    const replies = await Promise.all(
      [1, 2, 3, 4, 5].map((n) => send('PUT', target, { body: { description: `operator ${n}` }, ...ifMatch(etag) })),
    );
    expect(replies.map(({ status }) => status).sort()).toEqual([200, 412, 412, 412, 412]);
  });
});

describe('the tag of a broker', () => {
  const path = '/api/v1/mqtt/brokers';

  it('changes with a new password, and when another broker becomes the default', async () => {
    const id = await addBroker(berth, { username: 'probe' });
    const tags = [(await send('GET', `${path}/${id}`)).headers.etag];
    for (const body of [{ password: 'a' }, { password: 'a' }, { is_default: true }]) {
      tags.push((await send('PUT', `${path}/${id}`, { body })).headers.etag);
    }
    await send('PUT', `${path}/${await addBroker(berth)}`, { body: { is_default: true } });
    tags.push((await send('GET', `${path}/${id}`)).headers.etag);
    for (const [n, tag] of tags.slice(1).entries()) expect(tag, `change ${n}`).not.toBe(tags[n]);
  });

  it('is in the reply of POST; a successful connection test keeps it', async () => {
    const body = { name: 'tagged', host: 'mqtt.example.com', port: 1883 };
    const { headers } = await send('POST', path, { body });
    const target = String(headers.location);
    expect((await send('GET', target)).headers.etag).toBe(headers.etag);
    await berth.sql(`update mqtt_broker_config set last_connected_at = now() where name = 'tagged'`);
    expect((await send('GET', target)).headers.etag).toBe(headers.etag);
  });

  it('of a provisioning key stays when a device registers with it', async () => {
    const { id, key } = await issueKey();
    const target = `/api/v1/provisioning-keys/${id}`;
    const { etag } = (await send('GET', target)).headers;
    expect((await register(key, newDevice())).status).toBe(200);
    expect((await send('GET', target)).headers.etag).toBe(etag);
  });

  it('404, not 412, for a broker or key that does not exist', async () => {
    for (const target of [`${path}/999999`, '/api/v1/provisioning-keys/00000000-0000-4000-8000-000000000000']) {
      expect((await send('PUT', target, { body: { description: 'x' }, ...ifMatch('"x"') })).status).toBe(404);
      expect((await send('DELETE', target, ifMatch('"x"'))).status).toBe(404);
    }
  });
});
