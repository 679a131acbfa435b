import { createServer as createHttpServer } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { createServer, type Server } from 'node:net';
import tls, { type TlsOptions } from 'node:tls';
import { Aedes, type AuthenticateError, type Client } from 'aedes';
import { createWebSocketStream, WebSocketServer } from 'ws';
import { type Served, serve } from './serve.ts';

export const USERNAME = 'berth';
export const PASSWORD = 'right-password-of-the-broker';

/** `clients`: the client ids that were accepted. */
export type MqttServer = Served & { clients: string[] };

export type MqttServerOptions = {
  protocol: 'mqtt' | 'mqtts' | 'ws' | 'wss';
  tls?: TlsOptions;
  /** Refuses every client with this return code. */
  refuseWith?: 1 | 2 | 3 | 4 | 5;
};

/** A real MQTT broker on a free port of 127.0.0.1 that accepts USERNAME with PASSWORD only. */
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
  const served = await serve(listenerOf(protocol, tlsOptions, aedes));
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
