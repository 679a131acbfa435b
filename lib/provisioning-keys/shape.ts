const CURRENT = /^prov_([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})_[A-Za-z0-9_-]{43}$/;
const LEGACY = /^[0-9a-f]{64}$/i;

/** The kind of a provisioning key: `prov_<id>_<secret>` contains the id of its row, a legacy key (64 hex digits) does not. */
export type ProvisioningKeyShape = { kind: 'current'; id: string } | { kind: 'legacy' } | { kind: 'unknown' };

export function shapeOf(key: string): ProvisioningKeyShape {
  const id = CURRENT.exec(key)?.[1];
  if (id) return { kind: 'current', id };
  return LEGACY.test(key) ? { kind: 'legacy' } : { kind: 'unknown' };
}
