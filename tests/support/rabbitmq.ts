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

/** The script behind Debian's start script, which would switch the user and write below /var. */
export const RABBITMQ_SERVER = '/usr/lib/rabbitmq/bin/rabbitmq-server';

/**
 * Starts a RabbitMQ with its MQTT plugin and the HTTP auth backend. Its node name, directory and ports
 * (including epmd's) are not shared with another RabbitMQ.
 *
 * @param authUrl the `auth_http.*_path` settings without their last segment
 * @param query the query string of each of these URLs
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
  // Start epmd here: one that RabbitMQ starts would outlive it.
  const epmd = run(programPath('epmd') as string, ['-port', epmdPort, '-address', '127.0.0.1'], {
    cwd: dir,
    env: local,
  });
  guard(epmd.child, 'SIGTERM');
  const server = run(RABBITMQ_SERVER, [], {
    cwd: dir,
    env: {
      ...local,
      // Makes the script exec the server, so that our signals reach it.
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
