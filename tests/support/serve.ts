import type { AddressInfo, Server, Socket } from 'node:net';

export type Served = {
  port: number;
  /** How many connections are open. */
  open(): number;
  /** Stops listening and ends every connection. */
  close(): Promise<void>;
};

/** Listens on a port of 127.0.0.1 (default: a free one). */
export async function serve(server: Server, port = 0): Promise<Served> {
  const open = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    open.add(socket);
    socket.on('error', () => {}).on('close', () => open.delete(socket));
  });
  server.on('tlsClientError', () => {});
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', () => resolve()));
  return {
    port: (server.address() as AddressInfo).port,
    open: () => open.size,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of open) socket.destroy();
      }),
  };
}
