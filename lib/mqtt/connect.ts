import type { Socket } from 'node:net';
import type { MqttClient } from 'mqtt';
import { withDeadline } from '../deadline.ts';

export type MqttConnect = {
  /** Connected, after the TLS handshake if there is one. {@link mqttConnect} closes it. */
  socket: Socket;
  protocol: 'mqtt' | 'mqtts' | 'ws' | 'wss';
  /** For the Host header of the WebSocket. */
  host: string;
  port: number;
  clientId: string;
  username: string | undefined;
  password: string | undefined;
  timeoutMs: number;
};

/**
 * The outcome of a CONNECT. `returnCode` is that of an MQTT 3.1.1 CONNACK, 0 for accepted. `not-mqtt`: the server does not
 * speak MQTT; over WebSocket it may have answered with `httpStatus`.
 */
export type ConnectOutcome =
  | { kind: 'connack'; returnCode: number }
  | { kind: 'not-mqtt'; httpStatus?: number }
  | { kind: 'closed' }
  | { kind: 'timeout' }
  | { kind: 'failed'; code: string };

const DISCONNECT_MS = 500;
/** A CONNACK has 4 bytes, and the reply to a WebSocket's upgrade has headers. Whoever sends more is no broker. */
const MAX_RECEIVED_BYTES = 64 * 1024;

/**
 * Sends a CONNECT with a clean session over an open socket, waits for the CONNACK, and disconnects. It does not subscribe,
 * publish or retry. Never throws.
 */
export async function mqttConnect(options: MqttConnect): Promise<ConnectOutcome> {
  const client = await clientOn(options);
  try {
    const outcome = await outcomeOf(client, options);
    if (outcome.kind === 'connack' && outcome.returnCode === 0) await disconnect(client);
    return outcome;
  } finally {
    // An error without a listener would end the process.
    client.on('error', () => {});
    client.end(true);
    options.socket.destroy();
  }
}

async function clientOn({ socket, protocol, host, port, ...login }: MqttConnect): Promise<MqttClient> {
  const { default: mqtt } = await import('mqtt');
  const options = {
    clientId: login.clientId,
    ...(login.username === undefined ? {} : { username: login.username }),
    ...(login.password === undefined ? {} : { password: login.password }),
    clean: true,
    keepalive: 0,
    reconnectPeriod: 0,
    connectTimeout: login.timeoutMs + 1_000,
  };
  if (protocol === 'mqtt' || protocol === 'mqtts') return new mqtt.MqttClient(() => socket, options);
  const hostname = host.includes(':') ? `[${host}]` : host;
  const wsOptions = { createConnection: () => socket };
  return mqtt.connect({ ...options, protocol, host: hostname, hostname, port, path: '/', wsOptions });
}

function outcomeOf(client: MqttClient, { socket, timeoutMs }: MqttConnect): Promise<ConnectOutcome> {
  const { promise: outcome, resolve } = Promise.withResolvers<ConnectOutcome>();
  let received = 0;
  const failed = (error: Error & { code?: unknown }) => resolve(failureOf(error));
  client.on('connect', ({ returnCode }) => resolve({ kind: 'connack', returnCode: returnCode ?? 0 }));
  client.on('error', failed);
  // The client does not emit errors without a code, such as a refused WebSocket upgrade.
  client.stream.on('error', failed);
  socket.on('error', failed);
  // Counted here, because the client collects up to 256 MB for one packet.
  socket.on('data', (chunk: Buffer) => {
    received += chunk.length;
    if (received <= MAX_RECEIVED_BYTES) return;
    resolve({ kind: 'not-mqtt' });
    socket.destroy();
  });
  client.on('close', () => resolve({ kind: 'closed' }));
  return withDeadline(outcome, timeoutMs, late).catch(() => ({ kind: 'timeout' }));
}

function failureOf({ code, message }: Error & { code?: unknown }): ConnectOutcome {
  if (typeof code === 'number') return { kind: 'connack', returnCode: code };
  // Errors of the WebSocket and of the packet parser have no code. HPE_ is Node's HTTP parser.
  if (code !== undefined && !String(code).startsWith('HPE_')) return { kind: 'failed', code: String(code) };
  const [, httpStatus] = /^Unexpected server response: (\d+)$/.exec(message) ?? [];
  return { kind: 'not-mqtt', ...(httpStatus ? { httpStatus: Number(httpStatus) } : {}) };
}

/** Sends a DISCONNECT, so that the broker logs no error. */
async function disconnect(client: MqttClient): Promise<void> {
  await withDeadline(client.endAsync(), DISCONNECT_MS, late).catch(() => {});
}

function late(): Error {
  return new Error('late');
}
