/** Who this device is, and where its Berth is. */
import { randomBytes, randomUUID } from 'node:crypto';
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';

export const { uuid, deviceApiKey } = identity(process.env.DEVICE_DIR ?? '.berth/device');
export const { url, provisioningKey } = configuration('.berth/local.json');

/**
 * Generated once and kept for the device's whole life. It is on disk before the first request, so that after a lost reply
 * the device registers with the same uuid and key again, and receives the same credentials.
 */
function identity(directory: string): { uuid: string; deviceApiKey: string } {
  const path = join(directory, 'identity.json');
  if (existsSync(path)) return JSON.parse(readFileSync(path, 'utf8'));

  const created = { uuid: randomUUID(), deviceApiKey: randomBytes(32).toString('base64url') };
  mkdirSync(directory, { recursive: true });
  writeFileSync(`${path}.new`, JSON.stringify(created), { mode: 0o600, flush: true }); // flush: fsync
  renameSync(`${path}.new`, path); // as a whole or not at all, even if the power fails
  const handle = openSync(directory, 'r');
  fsyncSync(handle); // the new name, too
  closeSync(handle);
  return created;
}

/** From the environment; default: the file of a running `npm start`. */
function configuration(localStack: string): { url: string; provisioningKey: string } {
  const { BERTH_URL, BERTH_PROVISIONING_KEY: provisioningKey } = process.env;
  if (BERTH_URL && provisioningKey) return { url: BERTH_URL.replace(/\/+$/, ''), provisioningKey };
  if (!BERTH_URL && !provisioningKey && existsSync(localStack)) {
    const local = JSON.parse(readFileSync(localStack, 'utf8'));
    if (local.provisioningKey) return local;
    fail(
      `this stack has no demo key. Issue a key, then BERTH_URL=${local.url} BERTH_PROVISIONING_KEY=… npm run device`,
    );
  }
  return fail('run `npm start` in another terminal, or set both BERTH_URL and BERTH_PROVISIONING_KEY');
}

export function say(what: string): void {
  console.log(`device ${uuid}: ${what}`);
}

export function fail(what: string): never {
  console.error(`device ${uuid}: ${what}`);
  process.exit(1);
}
