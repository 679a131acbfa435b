import { connect, createServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * `pass`: forwards. `delay`: forwards each packet with a delay. `stall`: keeps connections and forwards nothing
 * in either direction. `half-open`: drops the server's end of all existing connections without closing the
 * client's end; new connections pass. `hang-up`: resets existing connections and closes each new one immediately.
 * `reset`: resets every connection, existing or new. `refuse`: does not listen.
 */
export type Mode = 'pass' | 'delay' | 'stall' | 'half-open' | 'hang-up' | 'reset' | 'refuse';

export type TcpProxy = {
  port: number;
  /** How many connections were accepted so far. */
  accepted(): number;
  /** @param delayMs the delay of each packet in mode `delay` */
  set(mode: Mode, delayMs?: number): Promise<void>;
  /**
   * Closes the connection instead of forwarding the next reply, once. `meanwhile` runs after the server's commit, before the
   * close. `skip`: how many replies are forwarded first.
   */
  loseReply(meanwhile?: () => Promise<unknown>, skip?: number): void;
  /** Forwards new connections to another port. */
  retarget(target: number): void;
  close(): Promise<void>;
};

/** The end of each reply of Postgres outside a transaction: ReadyForQuery, idle. */
const READY = Buffer.from([0x5a, 0, 0, 0, 5, 0x49]);

/** The two ends of a connection through the proxy. */
type Link = { client: Socket; upstream: Socket; isHalfOpen: boolean };

/** Starts a TCP proxy to port `target` of 127.0.0.1 that can simulate network faults. */
export async function startProxy(target: number): Promise<TcpProxy> {
  let mode: Mode = 'pass';
  let latencyMs = 0;
  let loseReply: (() => Promise<unknown>) | undefined;
  let toSkip = 0;
  let accepted = 0;
  const links = new Set<Link>();
  const resetAll = () => {
    for (const { client, upstream } of links) for (const end of [client, upstream]) end.resetAndDestroy();
  };
  const server = createServer((client) => {
    accepted++;
    client.on('error', () => {});
    if (mode === 'hang-up') return void client.destroy();
    if (mode === 'reset') return void client.resetAndDestroy();
    const upstream = connect(target, '127.0.0.1');
    upstream.on('error', () => {});
    const link: Link = { client, upstream, isHalfOpen: false };
    links.add(link);
    const forget = () => client.destroyed && upstream.destroyed && links.delete(link);
    client.on('close', forget);
    upstream.on('close', forget);
    forward(link, client, upstream);
    forward(link, upstream, client);
  });
  const forward = (link: Link, from: Socket, to: Socket) => {
    // A queue, so that delayed packets stay in order.
    let queue = Promise.resolve();
    from.on('data', (data) => {
      if (mode === 'reset') return void from.resetAndDestroy();
      queue = queue.then(async () => {
        if (loseReply && from === link.upstream && data.subarray(-READY.length).equals(READY) && toSkip-- === 0) {
          const meanwhile = loseReply;
          loseReply = undefined;
          await meanwhile();
          return void from.resetAndDestroy();
        }
        if (mode === 'delay') await sleep(latencyMs);
        if (mode !== 'stall' && !link.isHalfOpen) to.write(data);
      });
    });
    // Stalled and half-open: the other end must not notice the close.
    from.on('close', () => queue.then(() => mode !== 'stall' && !link.isHalfOpen && to.destroy()));
  };
  const hangUp = () => {
    for (const { client, upstream, isHalfOpen } of links) {
      if (client.destroyed) upstream.destroy();
      if (upstream.destroyed && !isHalfOpen) client.destroy();
    }
  };
  const halve = () => {
    for (const link of links) {
      link.isHalfOpen = true;
      link.upstream.destroy();
    }
  };
  const listen = (port: number) => new Promise<void>((resolve) => server.listen(port, '127.0.0.1', () => resolve()));
  await listen(0);
  const { port } = server.address() as { port: number };
  const stopListening = () =>
    new Promise<void>((resolve) => {
      server.close(() => resolve());
      resetAll();
    });
  return {
    port,
    accepted: () => accepted,
    set: async (next, delayMs = 0) => {
      const [wasRefusing, wasStalled] = [mode === 'refuse', mode === 'stall'];
      mode = next;
      latencyMs = delayMs;
      if (next === 'refuse') await stopListening();
      else if (wasRefusing) await listen(port);
      if (wasStalled && next !== 'stall') hangUp();
      if (next === 'half-open') halve();
      if (next === 'reset' || next === 'hang-up') resetAll();
    },
    loseReply: (meanwhile = async () => {}, skip = 0) => {
      loseReply = meanwhile;
      toSkip = skip;
    },
    retarget: (next) => {
      target = next;
    },
    close: stopListening,
  };
}
