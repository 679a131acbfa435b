import { setTimeout as sleep } from 'node:timers/promises';
import { secretHashesOf } from '../lib/http/broker-auth.ts';
import { readSettings as readFunctionSettings, SettingsError } from '../lib/settings/settings.ts';
import { UserError } from '../tools/user-error.ts';
import { localPortTaken } from './ports.ts';

/** The environment variables of `npm start`; README.md lists them. */
export type Settings = {
  port: number;
  /** One embedded broker per port. */
  mqttPorts: number[];
  /** Set: this database replaces the embedded one. */
  databaseUrl: string | undefined;
};

/** @throws UserError naming a variable that is not valid, also one that only the functions read */
export function readSettings(env: Record<string, string | undefined>): Settings {
  const port = portNumber('PORT', env.PORT || '4002');
  const mqttPorts = (env.MQTT_PORTS || '5883,5884').split(',').map((text) => portNumber('MQTT_PORTS', text.trim()));
  const twice = [port, ...mqttPorts].find((one, index, all) => all.indexOf(one) !== index);
  if (twice) throw new UserError(`PORT and MQTT_PORTS contain port ${twice} twice. Use different ports.`);
  checkFunctionSettings(env);
  return { port, mqttPorts, databaseUrl: env.DATABASE_URL || undefined };
}

/** Functions would read these settings at their first request, and answer 500. */
function checkFunctionSettings(env: Record<string, string | undefined>): void {
  try {
    // The local stack sets what is missing, and always how operators authorise themselves.
    const DATABASE_URL = env.DATABASE_URL || 'postgres://localhost/berth';
    const BERTH_PEPPER = env.BERTH_PEPPER || '-'.repeat(32);
    const settings = readFunctionSettings({ ...env, DATABASE_URL, BERTH_PEPPER, ADMIN_AUTH: undefined });
    secretHashesOf(settings.brokerSecretHash);
  } catch (error) {
    throw error instanceof SettingsError ? new UserError(error.message) : error;
  }
}

function portNumber(name: string, text: string): number {
  const port = Number(text);
  if (/^\d+$/.test(text) && port >= 1 && port <= 65_535) return port;
  const example = name === 'PORT' ? '4002' : '5883,5884';
  throw new UserError(
    `${name} contains "${text}", which is not a port. Use numbers from 1 to 65535, such as ${example}.`,
  );
}

/**
 * Checks that the ports are free.
 *
 * @param patienceMs how long to wait until they are
 * @throws UserError naming the port and the variable that chooses another
 */
export async function checkPorts({ port, mqttPorts }: Settings, patienceMs: number): Promise<void> {
  const end = Date.now() + patienceMs;
  if (await staysTaken(port, end)) {
    throw new UserError(
      `Port ${port} is taken. Free it, or choose another port for the API: \`PORT=${port + 1} npm start\`.`,
    );
  }
  for (const mqttPort of mqttPorts) {
    if (!(await staysTaken(mqttPort, end))) continue;
    const others = mqttPorts.map((one) => one + 10).join(',');
    throw new UserError(
      `Port ${mqttPort} is taken. Free it, or choose other ports for MQTT: \`MQTT_PORTS=${others} npm start\`.`,
    );
  }
}

async function staysTaken(port: number, end: number): Promise<boolean> {
  while (await localPortTaken(port)) {
    if (Date.now() > end) return true;
    await sleep(100);
  }
  return false;
}
