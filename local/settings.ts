import { setTimeout as sleep } from 'node:timers/promises';
import { UserError } from '../tools/user-error.ts';
import { localPortTaken } from './ports.ts';

/** What `npm start` takes from the environment; README.md lists it. */
export type Settings = {
  port: number;
  /** One embedded broker for each. */
  mqttPorts: number[];
  /** Set: this database instead of the embedded one. */
  databaseUrl: string | undefined;
};

/** @throws UserError in one sentence when a variable is not usable */
export function readSettings(env: Record<string, string | undefined>): Settings {
  const port = portNumber('PORT', env.PORT || '4002');
  const mqttPorts = (env.MQTT_PORTS || '5883,5884').split(',').map((text) => portNumber('MQTT_PORTS', text.trim()));
  const twice = [port, ...mqttPorts].find((one, index, all) => all.indexOf(one) !== index);
  if (twice) throw new UserError(`PORT and MQTT_PORTS name port ${twice} twice: each must be another one.`);
  return { port, mqttPorts, databaseUrl: env.DATABASE_URL || undefined };
}

function portNumber(name: string, text: string): number {
  const port = Number(text);
  if (/^\d+$/.test(text) && port >= 1 && port <= 65_535) return port;
  const example = name === 'PORT' ? '4002' : '5883,5884';
  throw new UserError(
    `${name} has "${text}" in it, which is no port: use numbers from 1 to 65535, such as ${example}.`,
  );
}

/**
 * Makes sure that the ports are free.
 *
 * @param patienceMs how long to wait for them
 * @throws UserError naming the port and the variable that chooses another
 */
export async function checkPorts({ port, mqttPorts }: Settings, patienceMs: number): Promise<void> {
  const end = Date.now() + patienceMs;
  if (await staysTaken(port, end)) {
    throw new UserError(
      `Port ${port} is taken: free it, or choose another for the API with \`PORT=${port + 1} npm start\`.`,
    );
  }
  for (const mqttPort of mqttPorts) {
    if (!(await staysTaken(mqttPort, end))) continue;
    const others = mqttPorts.map((one) => one + 10).join(',');
    throw new UserError(
      `Port ${mqttPort} is taken: free it, or choose others for MQTT with \`MQTT_PORTS=${others} npm start\`.`,
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
