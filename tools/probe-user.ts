import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { hashMqttPassword } from '../lib/crypto/mqtt-password.ts';
import { databaseUrl, withDatabase } from './database-url.ts';
import { runProgram } from './user-error.ts';

/**
 * The MQTT user of Berth's connection test. It belongs to no device and has no ACL: every broker lets it connect, and it
 * can do nothing there. The test uses a name with this prefix as its client id (lib/brokers/test-connection.ts).
 */
export const PROBE_USER = 'berth-probe';

/** Creates the probe user, or gives it this password. */
export async function saveProbeUser(
  databaseUrl: string,
  password: string,
  form: 'pbkdf2' | 'bcrypt' = 'pbkdf2',
): Promise<void> {
  const client = new pg.Client({ connectionString: databaseUrl, connectionTimeoutMillis: 5_000 });
  client.on('error', () => {});
  try {
    await client.connect();
    await client.query(UPSERT, [PROBE_USER, await hashMqttPassword(password, form)]);
  } finally {
    await client.end().catch(() => {});
  }
}

const UPSERT = `
  insert into mqtt_users (username, password_hash, is_superuser, is_active) values ($1, $2, false, true)
  on conflict (username) do update set password_hash = excluded.password_hash, is_superuser = false, is_active = true`;

/** `DATABASE_URL=… npm run -s probe-user` prints the body of a PUT to /mqtt/brokers/{id}. */
async function probeUser(): Promise<void> {
  const form = process.env.MQTT_PASSWORD_HASH === 'bcrypt' ? 'bcrypt' : 'pbkdf2';
  const password = randomBytes(24).toString('base64url');
  await withDatabase(databaseUrl('npm run -s probe-user'), (url) => saveProbeUser(url, password, form));
  console.log(JSON.stringify({ username: PROBE_USER, password }));
}

if (import.meta.main) await runProgram(probeUser);
