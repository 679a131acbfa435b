import { connect, createServer, type Socket } from 'node:net';
import tls from 'node:tls';
import type { Pair } from './certificates.ts';
import { serve } from './serve.ts';

export type LoginAttempt = { user: string; password: string };

/** Imitates the login of RDS Proxy: TLS only, a cleartext password, and its own decision on each login. */
export type IamProxy = {
  port: number;
  logins: LoginAttempt[];
  close(): Promise<void>;
};

const SSL_REQUEST = 80_877_103;

/**
 * @param upstreamPort port of a Postgres on 127.0.0.1 that trusts every login that this proxy forwards
 * @param accepts decides on a login
 */
export async function startIamProxy(
  upstreamPort: number,
  { cert, key }: Pair,
  accepts: (login: LoginAttempt) => boolean,
): Promise<IamProxy> {
  const logins: LoginAttempt[] = [];
  const server = createServer(async (plain) => {
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
      const upstream = connect(upstreamPort, '127.0.0.1').on('error', () => client.destroy());
      client.on('close', () => upstream.destroy());
      upstream.write(startup);
      client.pipe(upstream).pipe(client);
    } catch {
      plain.destroy();
    }
  });
  const { port, close } = await serve(server);
  return { port, logins, close };
}

/** Reads exactly `bytes` bytes. */
async function read(socket: Socket, bytes: number): Promise<Buffer> {
  for (;;) {
    const chunk: Buffer | null = socket.read(bytes);
    if (chunk) return chunk;
    await new Promise((resolve, reject) => socket.once('readable', resolve).once('close', reject));
  }
}

/** Reads one protocol message. `tagBytes`: 0 for the first one, which has no tag; otherwise 1. */
async function message(socket: Socket, tagBytes: number): Promise<Buffer> {
  const head = await read(socket, tagBytes + 4);
  return Buffer.concat([head, await read(socket, head.readUInt32BE(tagBytes) - 4)]);
}

function userOf(startup: Buffer): string {
  const words = startup.toString('utf8', 8).split('\0');
  return words[words.indexOf('user') + 1] ?? '';
}

/** ErrorResponse 28P01: the reply of RDS Proxy to a token that it does not accept. */
function refusal(): Buffer {
  const fields = Buffer.from('SFATAL\0VFATAL\0C28P01\0MThis token is not accepted.\0\0');
  const length = Buffer.alloc(4);
  length.writeUInt32BE(4 + fields.length);
  return Buffer.concat([Buffer.from('E'), length, fields]);
}
