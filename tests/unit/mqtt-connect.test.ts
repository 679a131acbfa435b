import { createServer as createHttpServer } from 'node:http';
import { connect, createServer, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { type MqttConnect, mqttConnect } from '../../lib/mqtt/connect.ts';
import { PASSWORD, startMqttServer, USERNAME } from '../support/mqtt-servers.ts';
import { type Served, serve } from '../support/serve.ts';

/** The CONNECT of a connection test, against servers that answer as brokers and others do. */
const closing: Served[] = [];
afterEach(async () => {
  for (const one of closing.splice(0)) await one.close();
});

async function opened(port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1');
  await new Promise((resolve) => socket.once('connect', resolve));
  return socket;
}

async function tried(port: number, options: Partial<MqttConnect> = {}) {
  const socket = await opened(port);
  const login = { username: USERNAME, password: PASSWORD, clientId: 'berth-test' };
  const all = { protocol: 'mqtt', host: '127.0.0.1', port, timeoutMs: 2_000, ...login, ...options } as const;
  const outcome = await mqttConnect({ ...all, socket });
  expect(socket.destroyed).toBe(true);
  return outcome;
}

const CONNACK = Buffer.of(0x20, 2, 0, 0);
/** A server that answers the first data with `replies`, if any; `received` is all that it got. */
async function server(replies: Buffer[], onSocket: (socket: Socket) => void = () => {}) {
  const received: Buffer[] = [];
  const served = await serve(
    createServer((socket) => {
      onSocket(socket);
      socket.on('data', (data) => received.push(data));
      if (replies.length > 0) socket.once('data', () => socket.write(Buffer.concat(replies)));
    }),
  );
  closing.push(served);
  const bytes = async () => {
    await expect.poll(served.open).toBe(0);
    return Buffer.concat(received);
  };
  return { port: served.port, bytes };
}

describe('what is sent', () => {
  // By mqtts, the handshake is over: the socket is that of the server here.
  it.each(['mqtt', 'mqtts'] as const)(
    'by %s, a CONNECT with a clean session and no keep-alive, and a DISCONNECT after the CONNACK',
    async (protocol) => {
      const { port, bytes } = await server([CONNACK]);
      expect(await tried(port, { protocol })).toEqual({ kind: 'connack', returnCode: 0 });
      const text = (value: string) => Buffer.concat([Buffer.of(0, value.length), Buffer.from(value)]);
      const body = Buffer.concat([
        // MQTT 3.1.1; username, password, clean session; keep-alive 0
        ...[text('MQTT'), Buffer.of(4, 0xc2, 0, 0)],
        ...[text('berth-test'), text(USERNAME), text(PASSWORD)],
      ]);
      expect(await bytes()).toEqual(Buffer.concat([Buffer.of(0x10, body.length), body, Buffer.of(0xe0, 0)]));
    },
  );

  it('neither username nor password without them', async () => {
    const { port, bytes } = await server([CONNACK]);
    await tried(port, { username: undefined, password: undefined });
    expect((await bytes())[9]).toBe(0x02);
  });

  it('no DISCONNECT after a refusal', async () => {
    const { port, bytes } = await server([Buffer.of(0x20, 2, 0, 5)]);
    expect(await tried(port)).toEqual({ kind: 'connack', returnCode: 5 });
    expect((await bytes()).subarray(-2)).not.toEqual(Buffer.of(0xe0, 0));
  });
});

describe('the outcome', () => {
  it.each(['mqtt', 'ws'] as const)('of a broker by %s: accepted, or refused with 4', async (protocol) => {
    const broker = await startMqttServer({ protocol });
    closing.push(broker);
    expect(await tried(broker.port, { protocol })).toEqual({ kind: 'connack', returnCode: 0 });
    expect(await tried(broker.port, { protocol, password: 'wrong' })).toEqual({ kind: 'connack', returnCode: 4 });
    expect(broker.clients).toEqual(['berth-test']);
  });

  it('of a server that says nothing: timeout, when it is over', async () => {
    const { port } = await server([]);
    const begin = Date.now();
    expect(await tried(port, { timeoutMs: 300 })).toEqual({ kind: 'timeout' });
    expect(Date.now() - begin).toBeGreaterThanOrEqual(295);
    expect(Date.now() - begin).toBeLessThan(1_200);
  });

  it('of one that hangs up: closed', async () => {
    const { port } = await server([], (socket) => socket.once('data', () => socket.end()));
    expect(await tried(port)).toEqual({ kind: 'closed' });
  });

  it('of one that resets: failed, with the code', async () => {
    const { port } = await server([], (socket) => socket.once('data', () => socket.resetAndDestroy()));
    expect(await tried(port)).toEqual({ kind: 'failed', code: 'ECONNRESET' });
  });

  it('of one that accepts and does not end the connection: accepted, half a second later at most', async () => {
    const { port } = await server([CONNACK], (socket) => {
      socket.allowHalfOpen = true;
    });
    const begin = Date.now();
    expect(await tried(port)).toEqual({ kind: 'connack', returnCode: 0 });
    expect(Date.now() - begin).toBeLessThan(1_500);
  });

  it.each([
    ['another protocol', 'mqtt', 'SSH-2.0-x\r\n'],
    ['HTTP without an upgrade', 'ws', 'nothing like HTTP\r\n\r\n'],
  ] as const)('of %s: not-mqtt', async (_, protocol, text) => {
    const { port } = await server([Buffer.from(text)]);
    expect(await tried(port, { protocol })).toEqual({ kind: 'not-mqtt' });
  });

  it('of a web server: not-mqtt, with its status', async () => {
    const web = await serve(createHttpServer((_, response) => response.writeHead(404).end()));
    closing.push(web);
    expect(await tried(web.port, { protocol: 'ws' })).toEqual({ kind: 'not-mqtt', httpStatus: 404 });
  });

  it.each([
    [65_536, 'timeout'],
    [65_537, 'not-mqtt'],
  ])('of a packet of which %i bytes arrive: %s', async (size, kind) => {
    const packet = Buffer.alloc(size);
    // A CONNACK that claims to have 256 MB.
    packet.set([0x20, 0xff, 0xff, 0xff, 0x7f]);
    const { port } = await server([packet]);
    expect(await tried(port, { timeoutMs: 1_000 })).toEqual({ kind });
  });
});

it.each([
  ['2001:db8::1', '[2001:db8::1]'],
  ['mqtt.example.com', 'mqtt.example.com'],
])('over WebSocket, the host is %s in the header Host', async (host, named) => {
  const hosts: unknown[] = [];
  const web = await serve(
    createHttpServer().on('upgrade', (request, socket) => {
      hosts.push(request.headers.host, request.url);
      socket.end('HTTP/1.1 503 Busy\r\n\r\n');
    }),
  );
  closing.push(web);
  expect(await tried(web.port, { protocol: 'ws', host })).toEqual({ kind: 'not-mqtt', httpStatus: 503 });
  expect(hosts).toEqual([`${named}:${web.port}`, '/']);
});
