import { randomBytes } from 'node:crypto';
import { createServer } from 'node:net';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it, vi } from 'vitest';
import { checkCertificates } from '../../functions/brokers.ts';
import { log } from '../../lib/log.ts';
import * as metrics from '../../lib/metrics.ts';
import { addBroker, type Berth, setEnv, startBerth } from '../support/berth.ts';
import { type Authority, createAuthority, type Issue } from '../support/certificates.ts';
import { startMqttServer } from '../support/mqtt-servers.ts';
import { serve } from '../support/serve.ts';

vi.mock('../../lib/metrics.ts', { spy: true });

let berth: Berth;
let authority: Authority;
const closing: { close(): Promise<void> }[] = [];
const warn = vi.spyOn(log, 'warn');

beforeAll(async () => {
  berth = await startBerth();
  authority = await createAuthority('Ten years');
});
afterAll(() => berth.stop());
beforeEach(async () => {
  setEnv({ BERTH_STAGE: 'local', BERTH_SEAL_KEY: randomBytes(32).toString('base64') });
  await berth.sql('delete from mqtt_broker_config');
  await berth.sql('delete from broker_certificates');
  vi.clearAllMocks();
});
afterEach(async () => {
  for (const one of closing.splice(0)) await one.close();
});

const run = (remainingMs = 300_000) =>
  checkCertificates({ time: '2026-01-01T00:00:00Z' }, {
    awsRequestId: 'check',
    getRemainingTimeInMillis: () => remainingMs,
  } as never);

/** Starts a broker whose certificate is valid for `days`, and adds its row. */
async function brokerWith(days: number, columns: object = {}, issue: Partial<Issue> = {}): Promise<number> {
  const { cert, key } = await authority.issue({ commonName: 'broker', hosts: ['localhost'], days, ...issue });
  const server = await startMqttServer({ protocol: 'mqtts', tls: { cert, key } });
  closing.push(server);
  return addBroker(berth, { protocol: 'mqtts', host: 'localhost', port: server.port, ...columns });
}

const daysLeft = () =>
  vi
    .mocked(metrics.measure)
    .mock.calls.map(([{ CertificateDaysLeft }]) => CertificateDaysLeft as number)
    .sort((a, b) => a - b);
const notSeen = () => vi.mocked(metrics.count).mock.calls.filter(([name]) => name === 'CertificateNotSeen').length;
const warnings = () => warn.mock.calls.map(([, fields]) => fields);

it('every certificate that an active broker presents, trusted or not, and every stored one is a metric', async () => {
  await brokerWith(400, { ca_cert: authority.cert });
  await brokerWith(60);
  await brokerWith(-3);
  await run();
  expect(daysLeft()).toEqual([-4, 59, 399, 3649]);
  expect(notSeen()).toBe(0);
  expect(await berth.sql('select count(*)::int as n from broker_certificates')).toEqual([{ n: 4 }]);
});

it('fewer than 30 days left are a warning with broker and certificate', async () => {
  const client = await authority.issue({ commonName: 'berth', days: 12 });
  const id = await brokerWith(31, { client_cert: client.cert, client_key: client.key });
  await run();
  expect(warnings()).toEqual([
    { brokerId: id, of: 'client_cert', subject: 'CN=berth', expiresAt: expect.stringMatching(/^20.*Z$/), daysLeft: 11 },
  ]);
});

it('what was seen is stored until the next check sees something else; the certificate of a broker that is away is kept', async () => {
  const seen = () =>
    berth.sql('select of, subject, expires_at > now() as "isValid" from broker_certificates order by of');
  const [old, renewed] = [
    await authority.issue({ commonName: 'old', days: 5 }),
    await authority.issue({ commonName: 'renewed', days: 50 }),
  ];
  const id = await brokerWith(-3, { client_cert: old.cert, client_key: old.key });
  await run();
  const server = { of: 'server', subject: 'CN=broker', isValid: false };
  expect(await seen()).toEqual([{ of: 'client_cert', subject: 'CN=old', isValid: true }, server]);
  await berth.sql('update mqtt_broker_config set client_cert = $2, client_key = $3, port = 1 where id = $1', [
    ...[id, renewed.cert, renewed.key],
  ]);
  await run();
  expect(await seen()).toEqual([{ of: 'client_cert', subject: 'CN=renewed', isValid: true }, server]);
  await berth.sql('update mqtt_broker_config set client_cert = null, port = $2 where id = $1', [
    ...[id, (await startRenewed()).port],
  ]);
  await run();
  expect(await seen()).toEqual([{ ...server, isValid: true }]);
});

async function startRenewed() {
  const { cert, key } = await authority.issue({ commonName: 'broker', hosts: ['localhost'], days: 50 });
  const server = await startMqttServer({ protocol: 'mqtts', tls: { cert, key } });
  closing.push(server);
  return server;
}

it('brokers without TLS and inactive brokers are skipped', async () => {
  await brokerWith(10, { is_active: false });
  await brokerWith(10, { protocol: 'mqtt' });
  await run();
  expect(daysLeft()).toEqual([]);
  expect(notSeen()).toBe(0);
});

it('brokers that cannot be checked do not prevent the check of the others', async () => {
  const dead = await serve(createServer((socket) => socket.destroy()));
  closing.push(dead);
  await addBroker(berth, { protocol: 'mqtts', host: 'localhost', port: dead.port });
  await addBroker(berth, { protocol: 'wss', host: 'no-such-host.invalid', port: 443, ca_cert: authority.cert });
  // Its private key is sealed with a removed key.
  await brokerWith(50, { client_cert: authority.cert, client_key_sealed: '9$AAAA$AAAA$AAAA' });
  await brokerWith(50);
  await run();
  expect(notSeen()).toBe(3);
  expect(daysLeft().filter((days) => days < 100)).toEqual([49]);
});

it('fails when there is no time for all brokers, so that an alarm is raised', async () => {
  await brokerWith(50);
  await expect(run(60_000 + 5_000)).rejects.toThrow(/1 of 1/);
});
