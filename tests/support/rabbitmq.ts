import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { guard } from '../../local/guard.ts';
import { freePort } from '../../local/ports.ts';
import { programPath } from './installed.ts';
import { type Program, run } from './stack.ts';

export type RabbitMq = {
  port: number;
  log: () => string;
  stop: () => Promise<void>;
};

/** Debian's own start script wants to be another user and writes below /var: this is what it calls. */
export const RABBITMQ_SERVER = '/usr/lib/rabbitmq/bin/rabbitmq-server';

/**
 * Starts a RabbitMQ with its MQTT plugin, which asks `authUrl` about everything. Its name, its directory
 * and all of its ports are its own, epmd's too.
 *
 * @param authUrl as `auth_http.*_path` have it but for the last segment
 * @param query of each of them
 */
export async function startRabbitMq(dir: string, authUrl: string, query: string): Promise<RabbitMq> {
  mkdirSync(dir, { recursive: true });
  const port = await freePort();
  const epmdPort = String(await freePort());
  const file = (name: string, text = '') => {
    writeFileSync(path.join(dir, name), text);
    return path.join(dir, name);
  };
  const local = { HOME: dir, ERL_EPMD_PORT: epmdPort, ERL_EPMD_ADDRESS: '127.0.0.1' };
  // In the foreground: one that RabbitMQ starts by itself would outlive it.
  const epmd = run(programPath('epmd') as string, ['-port', epmdPort, '-address', '127.0.0.1'], {
    cwd: dir,
    env: local,
  });
  guard(epmd.child, 'SIGTERM');
  const server = run(RABBITMQ_SERVER, [], {
    cwd: dir,
    env: {
      ...local,
      // Makes the script become the server, instead of standing between us and it.
      RUNNING_UNDER_SYSTEMD: 'true',
      RABBITMQ_NODENAME: `berth-${port}@localhost`,
      RABBITMQ_DIST_PORT: String(await freePort()),
      RABBITMQ_CONF_ENV_FILE: file('rabbitmq-env.conf'),
      RABBITMQ_CONFIG_FILE: file('rabbitmq.conf', configuration(port, authUrl, query)),
      RABBITMQ_ADVANCED_CONFIG_FILE: file(
        'advanced.config',
        '[{rabbitmq_mqtt, [{ignore_colons_in_username, true}]}].\n',
      ),
      RABBITMQ_ENABLED_PLUGINS_FILE: file('enabled_plugins', '[rabbitmq_mqtt,rabbitmq_auth_backend_http].\n'),
      RABBITMQ_MNESIA_BASE: path.join(dir, 'mnesia'),
      RABBITMQ_LOG_BASE: path.join(dir, 'log'),
      RABBITMQ_LOGS: '-',
      RABBITMQ_PID_FILE: path.join(dir, 'pid'),
      RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: '-kernel inet_dist_use_interface {127,0,0,1}',
    },
  });
  guard(server.child, 'SIGTERM');
  const stop = async () => {
    await server.end('SIGTERM');
    await epmd.end('SIGTERM');
  };
  try {
    await started(server);
  } catch (error) {
    await stop();
    throw error;
  }
  return { port, log: server.output, stop };
}

function started(server: Program): Promise<void> {
  return server.says(/Server startup complete/, 120_000);
}

function configuration(port: number, authUrl: string, query: string): string {
  const paths = ['user', 'vhost', 'resource', 'topic'].map(
    (name) => `auth_http.${name}_path = ${authUrl}/${name}?${query}`,
  );
  const lines = [
    'listeners.tcp = none',
    `mqtt.listeners.tcp.default = 127.0.0.1:${port}`,
    'mqtt.allow_anonymous = false',
    'mqtt.vhost = /',
    'auth_backends.1 = http',
    'auth_http.http_method = post',
    ...paths,
    'log.console = true',
    'log.console.level = info',
  ];
  return `${lines.join('\n')}\n`;
}
