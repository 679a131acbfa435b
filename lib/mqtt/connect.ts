import type { Socket } from 'node:net';
import type { MqttClient } from 'mqtt';

export type MqttConnect = {
  /** Connected, with TLS done where there is TLS; closed afterwards. */
  socket: Socket;
  protocol: 'mqtt' | 'mqtts' | 'ws' | 'wss';
  /** For the WebSocket's Host header. */
  host: string;
  port: number;
  clientId: string;
  username: string | undefined;
  password: string | undefined;
  timeoutMs: number;
};

/**
 * How a CONNECT ended: with the broker's answer (a CONNACK's return code of MQTT 3.1.1, 0 accepted), or
 * without one. `not-mqtt`: something else answered, over WebSocket perhaps with `httpStatus`.
 */
export type ConnectOutcome =
  | { kind: 'connack'; returnCode: number }
  | { kind: 'not-mqtt'; httpStatus?: number }
  | { kind: 'closed' }
  | { kind: 'timeout' }
  | { kind: 'failed'; code: string };

const GOODBYE_MS = 500;

/**
 * Sends a CONNECT with a clean session over an open socket, waits for the CONNACK, and disconnects. Nothing is
 * subscribed or published, nothing tried twice. Never throws.
 */
export async function mqttConnect(options: MqttConnect): Promise<ConnectOutcome> {
  const client = await clientOn(options);
  try {
    const outcome = await outcomeOf(client, options);
    if (outcome.kind === 'connack' && outcome.returnCode === 0) await disconnect(client);
    return outcome;
  } finally {
    // What still comes in after this must not end the process.
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
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve({ kind: 'timeout' }), timeoutMs);
    const done = (outcome: ConnectOutcome) => {
      clearTimeout(timer);
      resolve(outcome);
    };
    const failed = (error: Error & { code?: unknown }) => done(failureOf(error));
    client.on('connect', ({ returnCode }) => done({ kind: 'connack', returnCode: returnCode ?? 0 }));
    client.on('error', failed);
    // A WebSocket's refused upgrade has no code, and the client keeps such errors to itself.
    client.stream.on('error', failed);
    socket.on('error', failed);
    client.on('close', () => done({ kind: 'closed' }));
  });
}

function failureOf({ code, message }: Error & { code?: unknown }): ConnectOutcome {
  if (typeof code === 'number') return { kind: 'connack', returnCode: code };
  // Neither the WebSocket's nor the packet parser's errors have a code; HPE_ is Node's HTTP parser.
  if (code !== undefined && !String(code).startsWith('HPE_')) return { kind: 'failed', code: String(code) };
  const [, httpStatus] = /^Unexpected server response: (\d+)$/.exec(message) ?? [];
  return { kind: 'not-mqtt', ...(httpStatus ? { httpStatus: Number(httpStatus) } : {}) };
}

/** Takes leave with a DISCONNECT, so that the broker sends no last will and logs no error. */
function disconnect(client: MqttClient): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, GOODBYE_MS);
    client.end(false, () => {
      clearTimeout(timer);
      resolve();
    });
  });
}
