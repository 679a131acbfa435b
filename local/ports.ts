import { createServer } from 'node:net';
import { UserError } from '../tools/user-error.ts';

/** A TCP port of 127.0.0.1 that is free now. */
export async function freePort(): Promise<number> {
  return listen(0, '127.0.0.1');
}

/**
 * Whether something listens on `port` of `host`. A port of an address that this machine does not have (::1 without IPv6) is
 * not taken.
 * @throws UserError if this user may not listen on the port
 */
export async function portTaken(port: number, host: string): Promise<boolean> {
  try {
    await listen(port, host);
    return false;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EADDRINUSE') return true;
    if (code === 'EACCES') throw new UserError(`Port ${port} needs administrator rights. Choose one above 1023.`);
    return false;
  }
}

/** Whether something listens on `localhost:port`, by IPv4 or IPv6. */
export async function localPortTaken(port: number): Promise<boolean> {
  return (await portTaken(port, '127.0.0.1')) || (await portTaken(port, '::1'));
}

function listen(port: number, host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen({ port, host, exclusive: true }, () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address ? address.port : port));
    });
  });
}
