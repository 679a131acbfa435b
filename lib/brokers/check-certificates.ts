import type { Context } from '../context.ts';
import { query } from '../database/db.ts';
import { Problem } from '../errors.ts';
import { log } from '../log.ts';
import { count, measure } from '../metrics.ts';
import { describeCertificates } from '../mqtt/certificates.ts';
import { connectTcp, DialError, resolveHost, startTls } from '../mqtt/dial.ts';
import { settings } from '../settings/settings.ts';
import { storedClientKey } from './columns.ts';

type CheckedBroker = {
  id: number;
  host: string;
  port: number;
  ca_cert: string | null;
  client_cert: string | null;
  client_key: string | null;
  client_key_sealed: string | null;
};

/** `of`: the broker itself presented it, or the column that has it. */
type Seen = { of: 'server' | 'ca_cert' | 'client_cert'; subject: string; expires_at: string };

const DAY_MS = 86_400_000;
/** Below this a certificate is logged, and an alarm is raised. */
const WARNING_DAYS = 30;
/** Limit for DNS, TCP and TLS of one broker. */
const BROKER_MS = 8_000;

/**
 * Measures how long certificates remain valid: those that active brokers with TLS present, and those stored for them. Each
 * is reported as the metric `CertificateDaysLeft`, stored, and logged when it has less than 30 days left.
 *
 * @throws Error when there was not enough time for all brokers
 */
export async function checkCertificates(ctx: Context): Promise<void> {
  const brokers = await query<CheckedBroker>(
    ctx,
    (sql) => sql`
      select id, host, port, ca_cert, client_cert, client_key, client_key_sealed
      from mqtt_broker_config where is_active and protocol in ('mqtts', 'wss') order by id`,
  );
  for (const [index, broker] of brokers.entries()) {
    if (Date.now() + BROKER_MS > ctx.deadline) {
      throw new Error(`certificates not checked in time: ${brokers.length - index} of ${brokers.length} brokers`);
    }
    const stored = (['ca_cert', 'client_cert'] as const).flatMap((of) =>
      (describeCertificates(broker[of]) ?? []).map(({ subject, expires_at }) => ({ of, subject, expires_at })),
    );
    const server = await seeServer(broker);
    const seen: Seen[] = server ? [...stored, server] : stored;
    for (const one of seen) report(broker.id, one);
    await store(ctx, broker.id, seen, server !== undefined);
  }
}

/** The certificate that the broker presents, trusted or not; undefined if it cannot be seen. Sends nothing after the handshake. */
async function seeServer(broker: CheckedBroker): Promise<Seen | undefined> {
  const { id, host, port, ca_cert, client_cert } = broker;
  const deadline = Date.now() + BROKER_MS;
  try {
    const key = client_cert ? storedClientKey(broker, id) : undefined;
    const plain = await connectTcp(await resolveHost(host, settings().isLocalStack, deadline), port, deadline);
    const options = { host, ca: ca_cert || undefined, cert: client_cert || undefined, key };
    const { socket, facts } = await startTls(plain, options, deadline);
    socket.destroy();
    return facts.expiresAt ? { of: 'server', subject: facts.subject, expires_at: facts.expiresAt } : undefined;
  } catch (error) {
    if (!(error instanceof DialError) && !(error instanceof Problem)) throw error;
    log.warn('certificate not seen', { brokerId: id, reason: error.message });
    count('CertificateNotSeen');
  }
}

function report(brokerId: number, { of, subject, expires_at: expiresAt }: Seen): void {
  const daysLeft = Math.floor((Date.parse(expiresAt) - Date.now()) / DAY_MS);
  measure({ CertificateDaysLeft: daysLeft });
  if (daysLeft < WARNING_DAYS) log.warn('certificate expires', { brokerId, of, subject, expiresAt, daysLeft });
}

/** Replaces what was seen of the broker before, except its own certificate if it could not be seen now. */
async function store(ctx: Context, brokerId: number, seen: Seen[], isServerSeen: boolean): Promise<void> {
  await query(
    ctx,
    (sql) => sql`
      with seen as (
        select distinct on (of, subject, expires_at) * from jsonb_to_recordset(${sql.json(seen)}) as s (of text, subject text, expires_at timestamptz)
      ), gone as (
        delete from broker_certificates c
        where c.broker_id = ${brokerId} and (c.of <> 'server' or ${isServerSeen})
          and not exists (
            select from seen where seen.of = c.of and seen.subject = c.subject and seen.expires_at = c.expires_at)
      )
      insert into broker_certificates (broker_id, of, subject, expires_at)
      select ${brokerId}, of, subject, expires_at from seen
      on conflict (broker_id, of, subject, expires_at) do update set seen_at = excluded.seen_at`,
  );
}
