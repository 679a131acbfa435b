import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** An HTTP message of a document or of a socket. */
export type Message = { line: string; headers: Record<string, string>; body: string };

/** A TCP connection. `receive` resolves with exactly `count` bytes, or with all until the server closes it. */
export function openSocket(port: number) {
  const socket = connect(port, 'localhost');
  let got = Buffer.alloc(0);
  let closed = false;
  socket.on('data', (data) => {
    got = Buffer.concat([got, data]);
  });
  socket.on('close', () => {
    closed = true;
  });
  socket.on('error', () => {});
  const receive = async (count = Infinity): Promise<Buffer> => {
    for (const end = Date.now() + 20_000; got.length < count && !closed; await sleep(5)) {
      if (Date.now() > end) throw new Error(`only ${got.length} bytes: ${got.toString('hex')}`);
    }
    const taken = got.subarray(0, count);
    got = got.subarray(taken.length);
    return taken;
  };
  return { send: (bytes: Buffer) => socket.write(bytes), receive, close: () => socket.destroy() };
}

/** Parts of an HTTP message whose lines end with `newline`. Names of headers are in lower case. */
export function messageOf(text: string, newline: string): Message {
  const [head = '', ...rest] = text.split(newline + newline);
  const [line = '', ...fields] = head.split(newline);
  const headers = Object.fromEntries(
    fields.map((field) => [field.slice(0, field.indexOf(':')).toLowerCase(), field.slice(field.indexOf(':') + 2)]),
  );
  return { line, headers, body: rest.join(newline + newline) };
}

/** The bytes of a line such as `→ 00 04 "MQTT" 04 ; comment`. */
export function bytesOf(line: string): Buffer {
  const code = line.replace(/;[^"]*$/, '').slice(1);
  const parts = [...code.matchAll(/"([^"]*)"|([0-9a-f]{2})(?= |$)|(\S+)/g)].map(([, text, hex, unknown]) => {
    if (unknown) throw new Error(`neither bytes nor text: ${unknown} in ${line}`);
    return hex ? Buffer.from(hex, 'hex') : Buffer.from(text as string);
  });
  return Buffer.concat(parts);
}
