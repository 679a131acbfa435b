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

const DAY_MS = 86_400_000;
/** Below this a certificate is logged, and an alarm is raised. */
const WARNING_DAYS = 30;
/** Limit for DNS, TCP and TLS of one broker. */
const BROKER_MS = 8_000;

/**
 * Measures how long certificates remain valid: those that active brokers with TLS present, and those stored for them. Each
 * is reported as the metric `CertificateDaysLeft`, and logged when it has less than 30 days left.
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
    for (const column of ['ca_cert', 'client_cert'] as const) {
      for (const { subject, expires_at } of describeCertificates(broker[column]) ?? []) {
        report(broker.id, column, subject, expires_at);
      }
    }
    await checkServer(broker);
  }
}

/** Reports the certificate that the broker presents, trusted or not. Sends nothing after the handshake. */
async function checkServer(broker: CheckedBroker): Promise<void> {
  const { id, host, port, ca_cert, client_cert } = broker;
  const deadline = Date.now() + BROKER_MS;
  try {
    const key = client_cert ? storedClientKey(broker, id) : undefined;
    const plain = await connectTcp(await resolveHost(host, settings().isLocalStack, deadline), port, deadline);
    const options = { host, ca: ca_cert || undefined, cert: client_cert || undefined, key };
    const { socket, facts } = await startTls(plain, options, deadline);
    socket.destroy();
    if (facts.expiresAt) report(id, 'server', facts.subject, facts.expiresAt);
  } catch (error) {
    if (!(error instanceof DialError) && !(error instanceof Problem)) throw error;
    log.warn('certificate not seen', { brokerId: id, reason: error.message });
    count('CertificateNotSeen');
  }
}

function report(brokerId: number, of: 'server' | 'ca_cert' | 'client_cert', subject: string, expiresAt: string): void {
  const daysLeft = Math.floor((Date.parse(expiresAt) - Date.now()) / DAY_MS);
  measure({ CertificateDaysLeft: daysLeft });
  if (daysLeft < WARNING_DAYS) log.warn('certificate expires', { brokerId, of, subject, expiresAt, daysLeft });
}
