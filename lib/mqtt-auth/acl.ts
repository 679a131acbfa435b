/** A row of `mqtt_acls`: what may be done (bits of {@link ACCESS}) on topics that an MQTT filter matches. */
export type Acl = { topic: string; access: number };

/** The bits of `mqtt_acls.access`, as Mosquitto and mosquitto-go-auth number them. */
export const ACCESS = { read: 1, write: 2, subscribe: 4 } as const;

/** Whether some rule grants `access` on all that `filter` (a topic is one too) can match. */
export function isAllowed(acls: readonly Acl[], filter: string, access: number): boolean {
  return acls.some((acl) => (acl.access & access) !== 0 && covers(acl.topic, filter));
}

/**
 * Whether every topic that `filter` matches is matched by `wider` too, so that a subscription to `filter`
 * reaches nothing outside `wider`. Wildcards by MQTT 3.1.1 section 4.7.
 */
export function covers(wider: string, filter: string): boolean {
  // [MQTT-4.7.2-1] A leading wildcard doesn't match the broker's own topics.
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
