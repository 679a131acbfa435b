import { createServer as createHttpServer } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { createServer, type Server, type Socket } from 'node:net';
import tls, { type TlsOptions } from 'node:tls';
import { Aedes, type AuthenticateError, type Client } from 'aedes';
import { createWebSocketStream, WebSocketServer } from 'ws';

export const USERNAME = 'berth';
export const PASSWORD = 'right-password-of-the-broker';

export type MqttServer = {
  port: number;
  /** The client ids that were let in. */
  clients: string[];
  /** Connections that are open. */
  open(): number;
  close(): Promise<void>;
};

export type MqttServerOptions = {
  protocol: 'mqtt' | 'mqtts' | 'ws' | 'wss';
  tls?: TlsOptions;
  /** Refuses everybody with this return code. */
  refuseWith?: 1 | 2 | 3 | 4 | 5;
};

/** A real MQTT broker on a free port of 127.0.0.1 that lets USERNAME in with PASSWORD and nobody else. */
export async function startMqttServer({
  protocol,
  tls: tlsOptions = {},
  refuseWith,
}: MqttServerOptions): Promise<MqttServer> {
  const clients: string[] = [];
  const aedes = await Aedes.createBroker({
    authenticate: (client, username, password, done) => {
      const right = username === USERNAME && password?.toString() === PASSWORD;
      const returnCode = refuseWith ?? (right ? undefined : 4);
      if (returnCode === undefined) {
        clients.push(client.id);
        return done(null, true);
      }
      done(Object.assign(new Error('refused'), { returnCode }) as AuthenticateError, false);
    },
  });
  const server = listenerOf(protocol, tlsOptions, aedes);
  const served = await serve(server);
  return {
    ...served,
    clients,
    close: async () => {
      await new Promise<void>((resolve) => aedes.close(() => resolve()));
      await served.close();
    },
  };
}

function listenerOf(protocol: MqttServerOptions['protocol'], options: TlsOptions, aedes: Aedes): Server {
  if (protocol === 'mqtt') return createServer(aedes.handle);
  if (protocol === 'mqtts') return tls.createServer(options, aedes.handle);
  const server = protocol === 'ws' ? createHttpServer() : createHttpsServer(options);
  const sockets = new WebSocketServer({ server });
  sockets.on(
    'connection',
    (socket, request) => aedes.handle(createWebSocketStream(socket) as never, request) as Client,
  );
  return server as Server;
}

/** Listens on a free port of 127.0.0.1. */
export async function serve(server: Server): Promise<Pick<MqttServer, 'port' | 'open' | 'close'>> {
  const open = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    open.add(socket);
    socket.on('error', () => {}).on('close', () => open.delete(socket));
  });
  server.on('tlsClientError', () => {});
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()));
  return {
    port: (server.address() as { port: number }).port,
    open: () => open.size,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of open) socket.destroy();
      }),
  };
}
