/** A row of `mqtt_acls`: an MQTT topic filter, and the access (bits of {@link ACCESS}) that it grants. */
export type Acl = { topic: string; access: number };

/** The bits of `mqtt_acls.access`, as in Mosquitto and mosquitto-go-auth. */
export const ACCESS = { read: 1, write: 2, subscribe: 4 } as const;

/** Whether one ACL grants `access` to everything that `filter`, or a topic, matches. */
export function isAllowed(acls: readonly Acl[], filter: string, access: number): boolean {
  return acls.some((acl) => (acl.access & access) !== 0 && covers(acl.topic, filter));
}

/**
 * Whether `wider` matches every topic that `filter` matches. Wildcards as in MQTT 3.1.1, section 4.7.
 */
export function covers(wider: string, filter: string): boolean {
  // [MQTT-4.7.2-1] A leading wildcard does not match topics that begin with $.
  if (filter.startsWith('$') && !wider.startsWith('$')) return false;
  const [outer, inner] = [wider.split('/'), filter.split('/')];
  for (const [index, level] of outer.entries()) {
    // `a/#` matches `a` as well.
    if (level === '#') return true;
    const asked = inner[index];
    if (asked === undefined || asked === '#' || (level !== '+' && level !== asked)) return false;
  }
  return inner.length === outer.length;
}
