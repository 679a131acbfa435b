import bcrypt from 'bcryptjs';

const COST = 10;
const SECRET = 'x'.repeat(64);

let stored: string | undefined;

/**
 * What hashing cost the legacy service per registration: the provisioning key compared with its bcrypt hash, and
 * bcrypt hashes of the device key and of the MQTT password. Its 15 statements are left out.
 */
export async function legacyHashing(): Promise<void> {
  stored ??= await bcrypt.hash(SECRET, COST);
  await bcrypt.compare(SECRET, stored);
  await bcrypt.hash(SECRET, COST);
  await bcrypt.hash(SECRET, COST);
}
