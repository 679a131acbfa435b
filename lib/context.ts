/** What every verb gets first: who asks, and until when an answer is worth anything. */
export type Context = {
  requestId: string;
  /** The caller's address as the gateway saw it; never X-Forwarded-For. */
  sourceIp: string;
  /** Who acts, for device_events: `device:<uuid>`, `admin`, `schedule`. */
  actor: string;
  /** Epoch milliseconds. No statement is waited for past it. */
  deadline: number;
};
