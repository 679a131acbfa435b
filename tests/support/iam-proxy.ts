import { connect, createServer, type Socket } from 'node:net';
import tls from 'node:tls';
import type { Pair } from './certificates.ts';

/** What a client logs in with: the user it names, and its password. */
export type LoginTried = { user: string; password: string };

/** RDS Proxy as far as logging in goes: speaks TLS alone, takes the password in clear, and lets in whom it likes. */
export type IamProxy = {
  port: number;
  logins: LoginTried[];
  close(): Promise<void>;
};

const SSL_REQUEST = 80_877_103;

/**
 * @param upstream port of a Postgres on 127.0.0.1 that trusts whomever this one has let in
 * @param accepts decides on a login
 */
export async function startIamProxy(
  upstream: number,
  { cert, key }: Pair,
  accepts: (login: LoginTried) => boolean,
): Promise<IamProxy> {
  const logins: LoginTried[] = [];
  const open = new Set<Socket>();
  const server = createServer(async (plain) => {
    open.add(plain.on('error', () => {}));
    try {
      const request = await read(plain, 8);
      if (request.readUInt32BE(4) !== SSL_REQUEST) return void plain.destroy();
      plain.write('S');
      const client = new tls.TLSSocket(plain, { isServer: true, cert, key }).on('error', () => {});
      const startup = await message(client, 0);
      client.write(Buffer.from([82, 0, 0, 0, 8, 0, 0, 0, 3])); // AuthenticationCleartextPassword
      const answer = await message(client, 1);
      const login = { user: userOf(startup), password: answer.toString('utf8', 5, answer.length - 1) };
      logins.push(login);
      if (!accepts(login)) return void client.end(refusal());
      const server = connect(upstream, '127.0.0.1').on('error', () => client.destroy());
      open.add(server);
      server.write(startup);
      client.pipe(server).pipe(client);
    } catch {
      plain.destroy();
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()));
  return {
    port: (server.address() as { port: number }).port,
    logins,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of open) socket.destroy();
      }),
  };
}

/** `bytes` of the stream, no more. */
async function read(socket: Socket, bytes: number): Promise<Buffer> {
  for (;;) {
    const chunk: Buffer | null = socket.read(bytes);
    if (chunk) return chunk;
    await new Promise((resolve, reject) => socket.once('readable', resolve).once('close', reject));
  }
}

/** A message of the protocol; `tagBytes` is 0 for the first one, which has no tag. */
async function message(socket: Socket, tagBytes: number): Promise<Buffer> {
  const head = await read(socket, tagBytes + 4);
  return Buffer.concat([head, await read(socket, head.readUInt32BE(tagBytes) - 4)]);
}

function userOf(startup: Buffer): string {
  const words = startup.toString('utf8', 8).split('\0');
  return words[words.indexOf('user') + 1] ?? '';
}

/** ErrorResponse: 28P01, as RDS Proxy answers a token that it doesn't accept. */
function refusal(): Buffer {
  const fields = Buffer.from('SFATAL\0VFATAL\0C28P01\0MThis token is not accepted.\0\0');
  const length = Buffer.alloc(4);
  length.writeUInt32BE(4 + fields.length);
  return Buffer.concat([Buffer.from('E'), length, fields]);
}
