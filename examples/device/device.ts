/**
 * A device that uses Berth: it registers, connects to the MQTT broker that it receives, and follows when an operator moves
 * it to another one. Read it from top to bottom. README.md says what to copy into a firmware.
 */
import type { Socket } from 'node:net';
import { isDeepStrictEqual } from 'node:util';
import { connect, ErrorWithSubackPacket, type MqttClient } from 'mqtt';
import { backoff } from './backoff.ts';
import { call } from './call.ts';
import { deviceApiKey, fail, provisioningKey, say, uuid } from './identity.ts';

/** The `mqtt` object of Berth's replies, as far as it is used here. */
type Settings = {
  username: string;
  password?: string; // absent: keep the one you have
  broker: string; // protocol://host:port
  brokerConfig?: {
    clientIdPrefix: string;
    keepAlive: number; // s
    cleanSession: boolean;
    reconnectPeriod: number; // ms
    connectTimeout: number; // ms
    verifyCertificate: boolean;
    caCert?: string; // PEM: trust this CA for the broker, instead of the system's
    clientCert?: string; // PEM
  };
  topics: { publish: string[]; subscribe: string[] };
  assignment: { source: string; brokerId: number | null; brokerName: string | null };
};

const pollMs = 1_000 * (Number(process.env.POLL_SECONDS) || 5);
const topic = (name: string) => `iot/device/${uuid}/${name}`;

let settings: Settings | undefined; // the latest from Berth
let newest: MqttClient | undefined; // the connection with these settings
let live: MqttClient | undefined; // the connection in use: `newest`, except while a move is under way
let askNow = () => {}; // ends the pause before the next poll
let stopping = false;

process.on('SIGINT', stop).on('SIGTERM', stop);
setInterval(() => live?.connected && live.publish(topic('heartbeat'), new Date().toISOString()), 30_000);

follow(await register());

let etag: string | null = null;
for (let slower = 1; ; ) {
  await new Promise<void>((wake) => {
    askNow = wake;
    setTimeout(wake, pollMs * slower * (0.8 + 0.4 * Math.random())); // ±20 %: a fleet must not poll in step
  });
  const reply = await call(`/device/${uuid}/mqtt`, deviceApiKey, { headers: etag ? { 'if-none-match': etag } : {} });
  slower = 1;
  if (reply.status === 304) continue; // nothing has changed
  etag = reply.etag;
  if (reply.status === 200) {
    follow(reply.body);
  } else if (reply.status === 401 || reply.status === 404) {
    say('deleted from Berth, registering again');
    follow(await register());
  } else if (reply.status === 403) {
    if (newest) say('deactivated: disconnecting, and asking less often');
    await disconnect();
    slower = 12;
  } else fail(`asking for the broker: ${reply.problem}`);
}

/** Registers. The same uuid with the same device key gets the same reply, so every start registers again. */
async function register(): Promise<Settings> {
  const { DEVICE_NAME: deviceName = 'Example device', DEVICE_TYPE: deviceType = 'example' } = process.env;
  const body = JSON.stringify({ uuid, deviceName, deviceType, deviceApiKey });
  const headers = { 'content-type': 'application/json' };
  const reply = await call('/device/register', provisioningKey, { method: 'POST', headers, body });
  if (reply.status !== 200) fail(`not registered: ${reply.problem}`);
  const { broker, assignment } = reply.body.mqtt;
  say(`registered; its broker: ${assignment.brokerName ?? 'unnamed'} at ${broker} (source: ${assignment.source})`);
  return reply.body.mqtt;
}

/** Applies new settings: connects to the new broker first, and leaves the old one when that has worked (see `open`). */
function follow(reply: Settings): void {
  if (stopping) return;
  const before = settings;
  settings = { ...(before?.password && { password: before.password }), ...reply };
  // Another source of the same broker (`assignment`) is no reason to reconnect.
  if (newest && isDeepStrictEqual({ ...settings, assignment: 0 }, { ...before, assignment: 0 })) return;
  if (newest && before?.broker === settings.broker) say('settings changed');
  else if (newest) say(`moved from ${before?.broker} to ${settings.broker}`);
  if (newest !== live) newest?.end(true); // the last move did not succeed, and this one replaces it
  newest = open(settings);
}

/** Connects with exactly these settings, and stays connected until the client is ended. */
function open({ username, password, broker, brokerConfig, topics }: Settings): MqttClient {
  const client = connect(broker, {
    username,
    ...(password && { password }),
    clientId: `${brokerConfig?.clientIdPrefix ?? 'device'}_${uuid}`,
    ...(brokerConfig && {
      keepalive: brokerConfig.keepAlive,
      clean: brokerConfig.cleanSession,
      connectTimeout: brokerConfig.connectTimeout,
      // TLS. If the certificate is refused, store the broker's CA in Berth. Do not stop verifying.
      rejectUnauthorized: brokerConfig.verifyCertificate,
      ...(brokerConfig.caCert && { ca: brokerConfig.caCert }),
      // Half of mutual TLS: add the device's own private key as `key`. Berth never has it.
      ...(brokerConfig.clientCert && { cert: brokerConfig.clientCert }),
    }),
    reconnectOnConnackError: true,
    resubscribe: false, // every 'connect' below subscribes
  });

  // mqtt.js waits `reconnectPeriod` before each try. A new random value each time gives full jitter. 0 would mean never.
  let attempt = 0;
  const jitter = () => {
    client.options.reconnectPeriod = 1 + backoff(attempt++, 0, brokerConfig?.reconnectPeriod || 1_000);
  };
  jitter();
  client.on('reconnect', jitter);
  client.on('connect', () => {
    attempt = 0;
    jitter();
    // mqtt.js writes a packet in parts, which would wait for each other (40 ms). WebSockets have no such method.
    (client.stream as Partial<Socket>).setNoDelay?.(true);
    say(`connected to ${broker} as ${client.options.clientId}`);
    if (client === newest && client !== live) {
      live?.end(!live.connected);
      live = client;
    }
    tryOut(client, topics).catch((error) => client === newest && say(`${broker}: ${error.message}`));
  });
  client.on('message', (from, payload) => {
    if (from === topic('hello')) say(`round trip on ${from}: ${Date.now() - Number(payload)} ms`);
  });
  client.on('offline', () => client === newest && say(`${broker}: no connection, trying again`));
  client.on('error', (error: Error & { code?: unknown }) => {
    if (client !== newest) return; // is being replaced
    say(`${broker}: ${error.message || error.code}`);
    if (typeof error.code === 'number') askNow(); // the broker refused the device: it may have been moved
  });
  return client;
}

/** Uses the device's own topics, and shows that it cannot use another device's. */
async function tryOut(client: MqttClient, topics: Settings['topics']): Promise<void> {
  await client.subscribeAsync(topics.subscribe, { qos: 1 });
  await client.publishAsync(topic('hello'), String(Date.now()));
  const foreign = 'iot/device/someone-else/#';
  const refused = await client.subscribeAsync(foreign).then(
    () => false,
    (error) => error instanceof ErrorWithSubackPacket || Promise.reject(error), // a SUBACK code of 128 or more
  );
  say(refused ? `refused on ${foreign}, as it should be` : `WARNING: this broker let the device read ${foreign}`);
}

/** Sends a DISCONNECT, so that the broker need not wait for the keepalive. */
async function disconnect(): Promise<void> {
  const clients = [live, newest];
  live = newest = undefined;
  await Promise.all(clients.map((client) => client?.endAsync(!client.connected)));
}

/** Ctrl-C can arrive twice (npm also sends it): only the first counts. */
function stop(): void {
  if (stopping) return;
  stopping = true;
  setTimeout(() => process.exit(0), 2_000); // if the broker no longer answers
  disconnect().then(() => process.exit(0));
}
