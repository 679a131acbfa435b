import { createServer, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import tls from 'node:tls';
import { Aedes, type AedesOptions, type AuthenticateError, type Client } from 'aedes';
import { verifyMqttPassword } from '../lib/crypto/mqtt-password.ts';
import { ACCESS, isAllowed } from '../lib/mqtt-auth/acl.ts';
import { UserError } from '../tools/user-error.ts';
import { type BrokerUser, connectMqttUsers, type FindUsers, type MqttUsers } from './mqtt-users.ts';

export type BrokerOptions = {
  /** 0: any free port. */
  port: number;
  /** The id of this broker's row in `mqtt_broker_config`. */
  id: number;
  databaseUrl: string;
  host?: string;
  /** PEM. Set: MQTT over TLS. */
  tls?: { key: string; cert: string };
  /** How often connected clients are checked again. */
  recheckMs?: number;
  /** Receives a line for each client that is refused or disconnected. */
  log?: (line: string) => void;
};

export type Broker = {
  port: number;
  /** The usernames of all connections. */
  clients(): string[];
  /** Disconnects all clients and stops listening. */
  close(): Promise<void>;
};

type Session = { client: Client; user: BrokerUser };
type Login = { username: string; password: string; clientId: string };
type Refusal = { returnCode: 2 | 3 | 4 | 5; reason: string };
type Log = (line: string) => void;

/**
 * Starts an MQTT 3.1.1 broker that authenticates and authorises by `mqtt_users` and `mqtt_acls`, as a Mosquitto with
 * mosquitto-go-auth does. It also refuses a client id of another user, and a device that only other brokers accept, which it
 * disconnects within `recheckMs`.
 *
 * The SUBACK refuses an unauthorised subscription. An unauthorised publish closes the connection: MQTT 3.1.1 allows that,
 * and it is visible ([MQTT-3.3.5-2]).
 *
 * @throws UserError if the port is taken
 */
export async function startBroker(options: BrokerOptions): Promise<Broker> {
  const log = options.log ?? (() => {});
  const users = connectMqttUsers(options.databaseUrl, options.id);
  const sessions = new WeakMap<Client, Session>();
  const connected = new Set<Session>();
  const aedes = await Aedes.createBroker(rules(users, sessions, log));
  aedes.on('client', (client) => connected.add(sessions.get(client) as Session));
  aedes.on('clientDisconnect', (client) => connected.delete(sessions.get(client) as Session));
  // aedes writes a packet in parts: without noDelay, each waits 40 ms for the client's acknowledgement.
  const server = options.tls
    ? tls.createServer({ ...options.tls, noDelay: true }, aedes.handle)
    : createServer({ noDelay: true }, aedes.handle);
  const stopListening = trackSockets(server);
  try {
    await listen(server, options.port, options.host ?? '127.0.0.1');
  } catch (error) {
    await Promise.all([closeAedes(aedes), users.close()]);
    throw error;
  }
  const stopRechecking = every(options.recheckMs ?? 1_000, () => recheck(users.find, connected, log));
  return {
    port: (server.address() as { port: number }).port,
    clients: () => [...connected].map(({ user }) => user.username),
    close: async () => {
      await stopRechecking();
      await closeAedes(aedes);
      await stopListening();
      await users.close();
    },
  };
}

/** The hooks of aedes. A changed ACL takes effect at the next recheck. */
function rules(users: MqttUsers, sessions: WeakMap<Client, Session>, log: Log): AedesOptions {
  const may = (client: Client, topic: string, access: number) => {
    const user = sessions.get(client)?.user;
    return user !== undefined && (user.is_superuser || isAllowed(user.acls, topic, access));
  };
  const name = (client: Client) => sessions.get(client)?.user.username;
  return {
    authenticate: async (client, username, password, done) => {
      const login = { username: username ?? '', password: password?.toString() ?? '', clientId: client.id };
      const result = await authenticate(users.find, login);
      if ('username' in result) {
        sessions.set(client, { client, user: result });
        void users.endFormer(result);
        return done(null, true);
      }
      log(`refused ${username ?? 'a client without a username'}: ${result.reason}`);
      done(Object.assign(new Error(result.reason), result) as AuthenticateError, false);
    },
    authorizePublish: (client, { topic }, done) => {
      // The broker itself publishes without a client.
      if (!client || (!topic.startsWith('$') && may(client, topic, ACCESS.write))) return done(null);
      log(`disconnected ${name(client)}: it may not publish to ${topic}`);
      done(new Error(`not authorised to publish to ${topic}`));
    },
    authorizeSubscribe: (client, subscription, done) => {
      if (may(client, subscription.topic, ACCESS.subscribe)) return done(null, subscription);
      log(`refused ${name(client)} a subscription to ${subscription.topic}`);
      done(null, null);
    },
    authorizeForward: (client, packet) => (may(client, packet.topic, ACCESS.read) ? packet : null),
  };
}

async function authenticate(find: FindUsers, { username, password, clientId }: Login): Promise<BrokerUser | Refusal> {
  let user: BrokerUser | undefined;
  try {
    user = (await find([username])).get(username);
  } catch (error) {
    return { returnCode: 3, reason: `the database does not answer (${(error as Error).message})` };
  }
  if (!user) return { returnCode: 4, reason: 'unknown or inactive user' };
  if (!(await verifyMqttPassword(password, user.password_hash))) return { returnCode: 4, reason: 'wrong password' };
  const refusal = elsewhere(user);
  if (refusal) return refusal;
  // A client with the client id of another one takes over its session.
  if (!user.client_ids.includes(clientId)) return { returnCode: 2, reason: 'the client id is not one of this user' };
  return user;
}

/** Refuses a device that only other brokers accept. */
function elsewhere(user: BrokerUser): Refusal | undefined {
  return user.is_accepted ? undefined : { returnCode: 5, reason: `its broker is number ${user.resolved_broker_id}` };
}

async function recheck(find: FindUsers, connected: Set<Session>, log: Log): Promise<void> {
  // Clients that connect during the query are not in its result.
  const asked = [...connected];
  if (asked.length === 0) return;
  const users = await find(asked.map(({ user }) => user.username));
  for (const session of asked) {
    const user = users.get(session.user.username);
    const reason = user ? elsewhere(user)?.reason : 'unknown or inactive user';
    if (user) session.user = user;
    if (!reason) continue;
    log(`disconnected ${session.user.username}: ${reason}`);
    session.client.close();
  }
}

/** Runs `task` repeatedly, `ms` after it has ended. A failure waits for the next time. */
function every(ms: number, task: () => Promise<void>): () => Promise<void> {
  const stop = new AbortController();
  const pause = () => sleep(ms, undefined, { signal: stop.signal, ref: false });
  const loop = (async () => {
    while (!stop.signal.aborted) {
      await pause()
        .then(task)
        .catch(() => {});
    }
  })();
  return () => {
    stop.abort();
    return loop;
  };
}

/** @returns closes the server with all its connections, including unauthenticated ones */
function trackSockets(server: Server): () => Promise<void> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  return () =>
    new Promise((resolve) => {
      server.close(() => resolve());
      for (const socket of sockets) socket.destroy();
    });
}

function listen(server: Server, port: number, host: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const taken = `Port ${port} is taken, so no MQTT broker can listen there. Free it, or choose other ports with MQTT_PORTS.`;
      reject(error.code === 'EADDRINUSE' ? new UserError(taken) : error);
    });
    server.listen(port, host, resolve);
  });
}

function closeAedes(aedes: Aedes): Promise<void> {
  return new Promise((resolve) => aedes.close(resolve));
}
