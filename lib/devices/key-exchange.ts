import type { Context } from '../context.ts';
import { sameSecret } from '../crypto/compare.ts';
import { keyMismatch, missingCredentials, Problem } from '../errors.ts';
import { authenticateDevice } from './authenticate.ts';

/**
 * Tells a device whether its key is right: sent twice, in the header and in the body.
 * @throws Problem `missing-credentials`, `key-mismatch`, then as {@link authenticateDevice}
 */
export async function exchangeKey(
  ctx: Context,
  uuid: string,
  headerKey: string | undefined,
  bodyKey: string | undefined,
) {
  if (!headerKey || !bodyKey) throw new Problem(missingCredentials);
  if (!sameSecret(headerKey, bodyKey)) throw new Problem(keyMismatch);
  const device = await authenticateDevice(ctx, uuid, bodyKey);
  return {
    status: 'ok',
    message: 'Key exchange successful',
    device: { id: device.id, uuid: device.uuid, deviceName: device.device_name },
  };
}
