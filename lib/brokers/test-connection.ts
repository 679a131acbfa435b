import { randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import * as z from 'zod/mini';
import type { Context } from '../context.ts';
import { query } from '../database/db.ts';
import { releaseLease, takeLease } from '../database/leases.ts';
import { brokerConfigNotFound, brokerTestRunning, Problem } from '../errors.ts';
import { isChangeRepeated, recordOperatorEvents } from '../events/record.ts';
import { log } from '../log.ts';
import { mqttConnect } from '../mqtt/connect.ts';
import { connectTcp, DialError, resolveHost, startTls } from '../mqtt/dial.ts';
import {
  type Finding,
  findingOfCertificate,
  findingOfConnect,
  findingOfDial,
  meaningOf,
  PASSWORD_UNKNOWN,
} from '../mqtt/findings.ts';
import { settings } from '../settings/settings.ts';
import { type StoredBroker, storedClientKey, storedPassword } from './columns.ts';

type TestedBroker = StoredBroker & {
  id: number;
  protocol: 'mqtt' | 'mqtts' | 'ws' | 'wss';
  password_hash: string | null;
  use_tls: boolean | null;
};

type Stage = Finding['stage'];

const milliseconds = z.optional(z.number());
/** The result of a test. `latencyMs` has the duration of each stage that succeeded. */
export const testResult = z.object({
  reachable: z.boolean(),
  stage: z.optional(z.enum(['dns', 'tcp', 'tls', 'connack']).check(z.meta({ description: 'The stage that failed' }))),
  problem: z.optional(z.string().check(z.meta({ description: 'Why, as a code: `connection-refused`' }))),
  advice: z.optional(z.string().check(z.meta({ description: 'Why, and what to do' }))),
  tls: z.optional(
    z.object({
      version: z.nullable(z.string()),
      subject: z.string(),
      issuer: z.string(),
      expiresAt: z.nullable(z.string()),
      verified: z
        .boolean()
        .check(z.meta({ description: 'A false one fails the test, except with verify_certificate false' })),
      problem: z.optional(z.string()),
      chain: z.array(z.string()),
    }),
  ),
  connack: z.optional(z.object({ reasonCode: z.int(), meaning: z.string() })),
  latencyMs: z.object({ dns: milliseconds, tcp: milliseconds, tls: milliseconds, connack: milliseconds }),
});
type TestResult = z.output<typeof testResult>;

/** The settings that were tested, as the legacy service returned them. */
export const testedBroker = z.object({
  protocol: z.string(),
  host: z.string(),
  port: z.int(),
  username: z.nullable(z.string()),
  has_password: z.boolean().check(z.meta({ description: 'Whether one is stored, also if only as a hash' })),
  use_tls: z.nullable(z.boolean()),
});

/** Kept free of the request's time for the statements after the test. */
const RESERVE_MS = 1_000;
/** Longer than any test takes. A test that died blocks others for this long. */
const LEASE_SECONDS = 15;

/**
 * Connects to a broker as a client would, with its stored settings and credentials, and reports the stage that failed.
 * The installation runs one test at a time, and only to addresses that a broker may have, so that nobody can use it as a
 * port scanner.
 *
 * @returns the result, also when the broker cannot be reached
 * @throws Problem `broker-config-not-found`, `broker-test-running`, `unsealing-failed`
 */
export async function testBrokerConnection(ctx: Context, id: number) {
  const broker = await findBroker(ctx, id);
  const lease = await takeLease(ctx, 'broker-test', ctx.requestId, LEASE_SECONDS);
  if (!lease) throw new Problem(brokerTestRunning, undefined, { retryAfterSeconds: 2 });
  try {
    const data = await testConnection(broker, ctx.deadline - RESERVE_MS);
    await recordTest(ctx, id, data);
    log.info('broker tested', { brokerId: id, reachable: data.reachable, problem: data.problem });
    return { success: true, message: messageOf(data), broker: describe(broker), data };
  } finally {
    await releaseLease(ctx, lease);
  }
}

async function findBroker(ctx: Context, id: number): Promise<TestedBroker> {
  const [broker] = await query<TestedBroker>(
    ctx,
    (sql) => sql`
      select id, protocol, host, port, username, password_sealed, password_hash, ca_cert, client_cert, client_key,
             client_key_sealed, verify_certificate, is_active, use_tls
      from mqtt_broker_config where id = ${id}`,
  );
  if (!broker) throw new Problem(brokerConfigNotFound);
  return broker;
}

function messageOf({ reachable, problem }: TestResult): string {
  return reachable ? 'Connection succeeded' : `Connection failed: ${problem}`;
}

function describe({ protocol, host, port, username, password_sealed, password_hash, use_tls }: TestedBroker) {
  return { protocol, host, port, username, has_password: Boolean(password_sealed ?? password_hash), use_tls };
}

/** Records who tested the broker with which result, and when it was last reached. */
async function recordTest(ctx: Context, id: number, { tls: _, ...result }: TestResult): Promise<void> {
  await query(
    ctx,
    (sql, failure) => sql`
      with connected as (
        update mqtt_broker_config set last_connected_at = berth_now() where id = ${id} and ${result.reachable}
      )
      ${recordOperatorEvents(
        sql,
        ctx,
        'broker',
        sql`
          select 'broker-tested' as type, id, name, null as reason, null::jsonb as before,
                 ${JSON.stringify(result)}::text::jsonb as after
          from mqtt_broker_config
          where id = ${id} and not ${isChangeRepeated(sql, ctx, failure, 'broker', sql`${String(id)}`)}`,
      )}`,
  );
}

async function testConnection(broker: TestedBroker, deadline: number): Promise<TestResult> {
  const result: TestResult = { reachable: false, latencyMs: {} };
  const password = storedPassword(broker, broker.id);
  const clientKey = storedClientKey(broker, broker.id);
  let socket: Socket | undefined;
  try {
    socket = await open(broker, clientKey, result, deadline);
    await login(broker, password, socket, result, deadline);
    return { ...result, reachable: true };
  } catch (error) {
    if (error instanceof Unreachable) return { ...result, ...error.finding };
    if (error instanceof DialError) return { ...result, ...findingOfDial(error) };
    throw error;
  } finally {
    socket?.destroy();
  }
}

class Unreachable extends Error {
  readonly finding: Finding;
  constructor(finding: Finding) {
    super(finding.problem);
    this.finding = finding;
  }
}

/** DNS, TCP and, depending on the protocol, TLS. Sends nothing to a server whose certificate is not trusted. */
async function open(broker: TestedBroker, key: string | undefined, result: TestResult, deadline: number) {
  const { host, port, protocol, ca_cert, client_cert, verify_certificate } = broker;
  const addresses = await timed(result, 'dns', () => resolveHost(host, settings().isLocalStack, deadline));
  const plain = await timed(result, 'tcp', () => connectTcp(addresses, port, deadline));
  if (protocol === 'mqtt' || protocol === 'ws') return plain;
  const options = { host, ca: ca_cert || undefined, cert: client_cert || undefined, key };
  const { socket, facts } = await timed(result, 'tls', () => startTls(plain, options, deadline));
  result.tls = facts;
  if (facts.verified || verify_certificate === false) return socket;
  socket.destroy();
  throw new Unreachable(findingOfCertificate(facts, Boolean(ca_cert)));
}

async function login(
  { protocol, host, port, username, password_hash, client_cert }: TestedBroker,
  password: string | undefined,
  socket: Socket,
  result: TestResult,
  deadline: number,
): Promise<void> {
  if (password_hash && !password) throw new Unreachable(PASSWORD_UNKNOWN);
  const clientId = clientIdOf(username);
  const timeoutMs = Math.max(1, deadline - Date.now());
  const options = { socket, protocol, host, port, clientId, username: username ?? undefined, password, timeoutMs };
  const outcome = await timed(result, 'connack', () => mqttConnect(options));
  if (outcome.kind === 'connack') {
    result.connack = { reasonCode: outcome.returnCode, meaning: meaningOf(outcome.returnCode) };
  }
  const isWebSocket = protocol === 'ws' || protocol === 'wss';
  const finding = findingOfConnect(outcome, { isWebSocket, hasCredentials: Boolean(username || client_cert) });
  if (finding) throw new Unreachable(finding);
}

/**
 * A probe user (`berth-probe`) connects with its name as the client id, which brokers demand that bind the client id. Any
 * other user may be connected elsewhere, and would lose its session to a client with the same id.
 */
function clientIdOf(username: string | null): string {
  return username?.startsWith('berth-') ? username : `berth-test-${randomBytes(6).toString('hex')}`;
}

async function timed<T>({ latencyMs }: TestResult, stage: Stage, run: () => Promise<T>): Promise<T> {
  const started = performance.now();
  const outcome = await run();
  latencyMs[stage] = Math.round((performance.now() - started) * 10) / 10;
  return outcome;
}
