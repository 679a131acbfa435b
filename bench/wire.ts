import { connect, createServer, type Socket } from 'node:net';

/** A statement as a client sent it, with the values of its last run. */
export type Sent = { text: string; types: number[]; values: (string | null)[] };

export type Wire = {
  port: number;
  /** How often a client has spoken and then waited for the server. */
  roundTrips(): number;
  /** Statements sent by the extended protocol, in the order of their first run. */
  statements(): Sent[];
  close(): Promise<void>;
};

/** A proxy to the server on `target` of this machine that listens to what clients say (PostgreSQL's protocol 3). */
export async function tapWire(target: number): Promise<Wire> {
  let roundTrips = 0;
  const statements = new Map<string, Sent>();
  const server = createServer((client) => {
    const upstream = connect(target, '127.0.0.1');
    let wasAnswered = true;
    const messages = splitter((type, body) => note(statements, type, body));
    client.on('data', (data) => {
      if (wasAnswered) roundTrips++;
      wasAnswered = false;
      messages(data);
    });
    upstream.on('data', () => {
      wasAnswered = true;
    });
    join(client, upstream);
    join(upstream, client);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()));
  return {
    port: (server.address() as { port: number }).port,
    roundTrips: () => roundTrips,
    statements: () => [...statements.values()],
    close: () => new Promise((resolve) => server.close(() => resolve())),
  };
}

function join(from: Socket, to: Socket): void {
  from.pipe(to);
  from.on('error', () => to.destroy());
}

/** Cuts a client's bytes into messages. The first one, which starts the session, has no type. */
function splitter(take: (type: string, body: Buffer) => void): (data: Buffer) => void {
  let left = Buffer.alloc(0);
  let typeBytes = 0;
  return (data) => {
    left = Buffer.concat([left, data]);
    while (left.length >= typeBytes + 4) {
      const end = typeBytes + left.readUInt32BE(typeBytes);
      if (left.length < end) return;
      take(typeBytes ? String.fromCharCode(left[0] as number) : '', left.subarray(typeBytes + 4, end));
      left = left.subarray(end);
      typeBytes = 1;
    }
  };
}

/** Parse names a statement, Bind gives it values. */
function note(statements: Map<string, Sent>, type: string, body: Buffer): void {
  if (type !== 'P' && type !== 'B') return;
  const [first, rest] = cString(body);
  const [second, more] = cString(rest);
  if (type === 'P') statements.set(first, { text: second, types: parseTypes(more), values: [] });
  const bound = type === 'B' && statements.get(second);
  if (bound) bound.values = parseValues(more);
}

function cString(bytes: Buffer): [string, Buffer] {
  const end = bytes.indexOf(0);
  return [bytes.toString('utf8', 0, end), bytes.subarray(end + 1)];
}

function parseTypes(bytes: Buffer): number[] {
  return Array.from({ length: bytes.readUInt16BE(0) }, (_, i) => bytes.readUInt32BE(2 + 4 * i));
}

function parseValues(bytes: Buffer): (string | null)[] {
  let at = 2 + 2 * bytes.readUInt16BE(0); // past the parameters' formats: all text
  const count = bytes.readUInt16BE(at);
  at += 2;
  return Array.from({ length: count }, () => {
    const length = bytes.readInt32BE(at);
    at += 4;
    if (length < 0) return null;
    at += length;
    return bytes.toString('utf8', at - length, at);
  });
}
