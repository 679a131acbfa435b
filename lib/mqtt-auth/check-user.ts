import type { Context } from '../context.ts';
import { verifyMqttPassword } from '../crypto/mqtt-password.ts';
import { query } from '../database/db.ts';
import { log } from '../log.ts';
import { findMqttUser, type MqttUser } from './find-user.ts';
import type { UserQuestion } from './input.ts';

/** How long a login waits at most for what it writes. */
const MAX_WAIT_MS = 500;

/**
 * Whether a user may connect: the password is correct, the client id is one of its own, and the broker accepts the
 * device. A broker that sends no client id binds it itself (docs/brokers.md).
 *
 * @param brokerId the broker that asks, if known
 * @returns why access is refused; undefined: it is allowed
 */
export async function checkUser(
  ctx: Context,
  brokerId: number | undefined,
  { username, password, client_id, clientid }: UserQuestion,
): Promise<string | undefined> {
  const found = await findMqttUser(ctx, username, brokerId);
  if ('refusal' in found) return found.refusal;
  if (!password || !(await verifyMqttPassword(password, found.user.password_hash))) return 'wrong password';
  const own: unknown[] = found.user.client_ids;
  const isOwn = [client_id, clientid].every((id) => id === undefined || own.includes(id));
  if (!isOwn) return 'the client id is not one of this user';
  // Without the id of the broker, nothing shows where the device has logged in.
  if (brokerId !== undefined && found.user.ends_former) await endFormer(ctx, found.user, brokerId);
  return undefined;
}

/** The device uses what it was handed, so its former brokers need no longer accept it. Once per move; never fails the login. */
async function endFormer(ctx: Context, { device_uuid }: MqttUser, brokerId: number): Promise<void> {
  try {
    const soon = { ...ctx, deadline: Math.min(ctx.deadline, Date.now() + MAX_WAIT_MS) };
    await query(soon, (sql) => sql`select berth_end_former(${device_uuid}, ${brokerId})`);
  } catch (error) {
    log.warn('former brokers not ended', { requestId: ctx.requestId, code: (error as { code?: unknown }).code });
  }
}
