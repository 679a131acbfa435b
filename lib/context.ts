/** Who acts, as device_events records it. `admin:<sub>` is a person of a token issuer, `broker:<id>` a broker that says which one it is. */
export type Actor =
  | 'device'
  | `device:${string}`
  | 'admin'
  | 'admin-read'
  | `admin:${string}`
  | 'broker'
  | `broker:${number}`
  | 'schedule';

/** What every verb gets first: who calls, and until when a reply is of use. */
export type Context = {
  requestId: string;
  /** The caller's address as the gateway saw it; never X-Forwarded-For. Empty for a schedule. */
  sourceIp: string;
  actor: Actor;
  /** Epoch milliseconds. No statement is waited for past it. */
  deadline: number;
};
