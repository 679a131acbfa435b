import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  type Columns,
  columnsOf,
  NEW_BROKER,
  type StoredBroker,
  storedClientKey,
  storedPassword,
} from '../../lib/brokers/columns.ts';
import type { BrokerInput } from '../../lib/brokers/input.ts';
import { Problem } from '../../lib/errors.ts';
import { reloadSettings } from '../../lib/settings/settings.ts';
import { createAuthority, type Pair } from '../support/certificates.ts';

/** What an input writes into a broker's row, and what it is refused for. */
const ID = 7;
const before = { ...process.env };
let pair: Pair;
let other: Pair;
let expired: Pair;
beforeAll(async () => {
  Object.assign(process.env, { BERTH_SEAL_KEY: 'a'.repeat(64) });
  reloadSettings();
  const authority = await createAuthority('Example CA');
  pair = await authority.issue({ commonName: 'client' });
  other = await authority.issue({ commonName: 'other' });
  expired = await authority.issue({ commonName: 'old', days: -1 });
});
afterAll(() => {
  process.env = before;
  reloadSettings();
});

const columns = (input: object, stored: Partial<StoredBroker> = {}): Columns =>
  columnsOf(input as BrokerInput, ID, { ...NEW_BROKER, ...stored });
/** `field: message`, or the code of a problem without fields. */
const refused = (input: object, stored: Partial<StoredBroker> = {}): unknown => {
  try {
    return columns(input, stored);
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    const [first] = error.errors ?? [];
    return first ? `${first.path}: ${first.message}` : error.code;
  }
};

it('writes what is sent, and nothing else', () => {
  expect(columns({})).toEqual({});
  const sent = { host: 'x', port: 1, description: null, is_active: false };
  expect(columns({ ...sent, close_former: true })).toEqual(sent);
});

describe('secrets', () => {
  it('are sealed for their column of this row, and replace what the legacy service stored', () => {
    const written = columns({ username: 'u', password: 'secret', client_cert: pair.cert, client_key: pair.key });
    expect(Object.keys(written).sort()).toEqual(
      ['client_cert', 'client_key', 'client_key_sealed', 'password_hash', 'password_sealed', 'username'].sort(),
    );
    expect(written).toMatchObject({ client_cert: pair.cert, client_key: null, password_hash: null });
    const stored = { ...NEW_BROKER, ...written } as StoredBroker;
    expect([storedPassword(stored, ID), storedClientKey(stored, ID)]).toEqual(['secret', pair.key]);
    expect(() => storedPassword(stored, ID + 1)).toThrow();
  });

  it('are removed by null', () => {
    const stored = { username: 'u', password_sealed: 'x', client_cert: pair.cert, client_key: pair.key };
    expect(columns({ password: null, client_cert: null, client_key: null }, stored)).toEqual({
      ...{ password_sealed: null, password_hash: null, client_cert: null, client_key: null, client_key_sealed: null },
    });
  });

  it('that are not stored are undefined; the key of the legacy service is plain', () => {
    expect([storedPassword(NEW_BROKER, ID), storedClientKey(NEW_BROKER, ID)]).toEqual([undefined, undefined]);
    expect(storedClientKey({ client_key_sealed: null, client_key: pair.key }, ID)).toBe(pair.key);
  });
});

describe('use_tls', () => {
  it.each([
    ['mqtt', false],
    ['mqtts', true],
    ['ws', false],
    ['wss', true],
  ])('follows from %s', (protocol, use_tls) => {
    expect(columns({ protocol })).toEqual({ protocol, use_tls });
    expect(columns({ protocol, use_tls })).toEqual({ protocol, use_tls });
    expect(columns({ use_tls }, { protocol })).toEqual({ use_tls });
  });

  it.each([
    ['mqtt', true, 'must be false with protocol mqtt; for true use mqtts'],
    ['mqtts', false, 'must be true with protocol mqtts; for false use mqtt'],
    ['ws', true, 'must be false with protocol ws; for true use wss'],
    ['wss', false, 'must be true with protocol wss; for false use ws'],
  ])('of %s is not %s', (protocol, use_tls, message) => {
    expect(refused({ protocol, use_tls })).toBe(`use_tls: ${message}`);
    expect(refused({ use_tls }, { protocol })).toBe(`use_tls: ${message}`);
  });
});

describe('certificates', () => {
  it.each(['ca_cert', 'client_cert'])('an unreadable or expired %s is refused', (field) => {
    expect(refused({ [field]: 'x', client_key: pair.key })).toBe(
      `${field}: must be one or more certificates in PEM and nothing else`,
    );
    expect(refused({ [field]: expired.cert, client_key: expired.key })).toMatch(
      new RegExp(`^${field}: must not contain an expired certificate: CN=old `),
    );
  });

  const together = 'must be set together with';
  it.each([
    ['a certificate alone', () => ({ client_cert: pair.cert }), {}, `client_key: ${together} client_cert`],
    ['a key alone', () => ({ client_key: pair.key }), {}, `client_cert: ${together} client_key`],
    [
      'a certificate that is removed alone',
      () => ({ client_cert: null }),
      () => ({ client_cert: pair.cert, client_key: pair.key }),
      `client_cert: ${together} client_key`,
    ],
    [
      'another certificate than that of the stored key',
      () => ({ client_cert: other.cert }),
      () => ({ client_cert: pair.cert, client_key: pair.key }),
      'client_key: must be the private key of client_cert',
    ],
    [
      'a key that is none',
      () => ({ client_cert: pair.cert, client_key: 'x' }),
      {},
      'client_key: must be a private key in PEM, not encrypted',
    ],
    [
      'a stored certificate that is none',
      () => ({ client_key: pair.key }),
      { client_cert: 'x' },
      'client_cert: must be one or more certificates in PEM and nothing else',
    ],
  ] as const)('%s is refused', (_, input, stored, message) => {
    expect(refused(input(), typeof stored === 'function' ? stored() : stored)).toBe(message);
  });

  it('a half that fits the stored other one is accepted, and an old pair is not looked at', () => {
    const stored = { client_cert: pair.cert, client_key: pair.key };
    expect(columns({ client_cert: pair.cert }, stored)).toEqual({ client_cert: pair.cert });
    expect(Object.keys(columns({ client_key: pair.key }, stored)).sort()).toEqual(['client_key', 'client_key_sealed']);
    expect(columns({ name: 'x' }, { client_cert: 'x', client_key: 'y' })).toEqual({ name: 'x' });
    expect(columns({ client_cert: null })).toEqual({ client_cert: null });
  });
});

describe('a password needs a user', () => {
  const missing = 'username: must be set together with a password';
  it.each([
    [{ password: 'p' }, {}, missing],
    [{ username: null, password: 'p' }, { username: 'u' }, missing],
    [{ username: null }, { username: 'u', password_sealed: 's' }, missing],
    [{ username: null, password: null }, { username: 'u', password_sealed: 's' }, undefined],
    [{ username: 'u', password: 'p' }, {}, undefined],
    [{ password: 'p' }, { username: 'u' }, undefined],
    [{ username: 'u' }, {}, undefined],
    // Of the legacy service: not looked at while neither changes.
    [{ name: 'x' }, { password_sealed: 's' }, undefined],
  ])('%j on %j', (input, stored, message) => {
    const outcome = refused(input, stored);
    if (message) expect(outcome).toBe(message);
    else expect(outcome).toBeTypeOf('object');
  });
});

describe('a stored password goes only where it was meant to go', () => {
  const stored = { username: 'u', password_sealed: 's', host: 'h', port: 1, protocol: 'mqtts', ca_cert: 'c' };
  it.each([
    ['host', { host: 'x' }],
    ['port', { port: 2 }],
    ['protocol', { protocol: 'wss' }],
    ['ca_cert', { ca_cert: null }],
    ['verify_certificate', { verify_certificate: false }],
  ])('another %s needs it again', (reason, input) => {
    const message = `password: must be sent again when ${reason} changes; null removes it`;
    expect(refused(input, stored)).toBe(message);
    expect(refused({ ...input, password: 'p' }, stored)).toBeTypeOf('object');
    expect(refused({ ...input, password: null }, stored)).toBeTypeOf('object');
    expect(refused(input, { ...stored, password_sealed: null })).toBeTypeOf('object');
  });

  it('what stays the same, or verifies more, does not', () => {
    const { host, port, protocol } = stored;
    expect(refused({ host, port, protocol, verify_certificate: true, keep_alive: 5 }, stored)).toBeTypeOf('object');
    expect(refused({ verify_certificate: false }, { ...stored, verify_certificate: false })).toBeTypeOf('object');
    // NULL, in rows of the legacy service, is verified.
    expect(refused({ verify_certificate: false }, { ...stored, verify_certificate: null })).toMatch(/^password: /);
  });
});

it('an inactive broker does not become the default', () => {
  expect(refused({ is_default: true }, { is_active: false })).toBe('default-broker-inactive');
  expect(refused({ is_default: true, is_active: false })).toBe('default-broker-inactive');
  expect(refused({ is_default: true }, { is_active: null })).toBe('default-broker-inactive');
  expect(refused({ is_default: true, is_active: true }, { is_active: false })).toBeTypeOf('object');
  expect(refused({ is_default: false }, { is_active: false })).toBeTypeOf('object');
});
