import { connect, createServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * `pass`: forwards. `delay`: forwards each packet late. `stall`: keeps connections and forwards nothing, in
 * neither direction. `half-open`: the server has lost the connections there are, their clients don't know; new
 * ones pass. `hang-up`: ends every connection politely as soon as it is there. `reset`: answers every packet
 * and connection with a reset. `refuse`: nobody listens.
 */
export type Mode = 'pass' | 'delay' | 'stall' | 'half-open' | 'hang-up' | 'reset' | 'refuse';

export type TcpProxy = {
  port: number;
  /** How many connections there have been. */
  accepted(): number;
  /** @param delayMs how late packets are while in `delay` */
  set(mode: Mode, delayMs?: number): Promise<void>;
  /** Sends new connections to another port. */
  aim(target: number): void;
  close(): Promise<void>;
};

/** The two ends of a connection through the proxy. */
type Line = { client: Socket; upstream: Socket; isHalfOpen: boolean };

/** A TCP proxy to `target` on 127.0.0.1 whose line can be made bad. */
export async function startProxy(target: number): Promise<TcpProxy> {
  let mode: Mode = 'pass';
  let late = 0;
  let accepted = 0;
  const lines = new Set<Line>();
  const resetAll = () => {
    for (const { client, upstream } of lines) for (const end of [client, upstream]) end.resetAndDestroy();
  };
  const server = createServer((client) => {
    accepted++;
    client.on('error', () => {});
    if (mode === 'hang-up') return void client.destroy();
    if (mode === 'reset') return void client.resetAndDestroy();
    const upstream = connect(target, '127.0.0.1');
    upstream.on('error', () => {});
    const line: Line = { client, upstream, isHalfOpen: false };
    lines.add(line);
    const forget = () => client.destroyed && upstream.destroyed && lines.delete(line);
    client.on('close', forget);
    upstream.on('close', forget);
    forward(line, client, upstream);
    forward(line, upstream, client);
  });
  const forward = (line: Line, from: Socket, to: Socket) => {
    // One packet after the other, so that a late one isn't overtaken.
    let queue = Promise.resolve();
    from.on('data', (data) => {
      if (mode === 'reset') return void from.resetAndDestroy();
      queue = queue.then(async () => {
        if (mode === 'delay') await sleep(late);
        if (mode !== 'stall' && !line.isHalfOpen) to.write(data);
      });
    });
    // A bad line tells nobody that the other end has gone.
    from.on('close', () => queue.then(() => mode !== 'stall' && !line.isHalfOpen && to.destroy()));
  };
  const hangUp = () => {
    for (const { client, upstream, isHalfOpen } of lines) {
      if (client.destroyed) upstream.destroy();
      if (upstream.destroyed && !isHalfOpen) client.destroy();
    }
  };
  const halve = () => {
    for (const line of lines) {
      line.isHalfOpen = true;
      line.upstream.destroy();
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
      late = delayMs;
      if (next === 'refuse') await stopListening();
      else if (wasRefusing) await listen(port);
      if (wasStalled && next !== 'stall') hangUp();
      if (next === 'half-open') halve();
      if (next === 'reset' || next === 'hang-up') resetAll();
    },
    aim: (next) => {
      target = next;
    },
    close: stopListening,
  };
}
