import { connect, createServer, type Socket } from 'node:net';

/**
 * `pass`: forwards. `stall`: keeps connections and forwards nothing, in neither direction. `reset`: answers
 * every packet and connection with a reset. `refuse`: nobody listens.
 */
export type Mode = 'pass' | 'stall' | 'reset' | 'refuse';

export type TcpProxy = { port: number; set(mode: Mode): Promise<void>; close(): Promise<void> };

/** A TCP proxy to `port` on 127.0.0.1 whose line can be made bad. */
export async function startProxy(target: number): Promise<TcpProxy> {
  let mode: Mode = 'pass';
  const sockets = new Set<Socket>();
  const resetAll = () => {
    for (const socket of sockets) socket.resetAndDestroy();
  };
  const server = createServer((client) => {
    sockets.add(client);
    client.on('error', () => {}).on('close', () => sockets.delete(client));
    if (mode === 'reset') return void client.resetAndDestroy();
    const upstream = connect(target, '127.0.0.1');
    sockets.add(upstream);
    upstream.on('error', () => {}).on('close', () => sockets.delete(upstream));
    forward(client, upstream);
    forward(upstream, client);
  });
  const forward = (from: Socket, to: Socket) => {
    from.on('data', (data) => {
      if (mode === 'reset') from.resetAndDestroy();
      else if (mode === 'pass') to.write(data);
    });
    // A stalled line tells nobody that the other end has gone.
    from.on('close', () => mode !== 'stall' && to.destroy());
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
    set: async (next) => {
      const wasRefusing = mode === 'refuse';
      mode = next;
      if (next === 'refuse') await stopListening();
      else if (wasRefusing) await listen(port);
      if (next === 'reset') resetAll();
    },
    close: stopListening,
  };
}
