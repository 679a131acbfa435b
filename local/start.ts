import { migrate } from '../lib/database/migrate.ts';
import { buildPanelIfChanged } from '../tools/build-panel.ts';
import { withDatabase } from '../tools/database-url.ts';
import { describeError, UserError } from '../tools/user-error.ts';
import { banner } from './banner.ts';
import {
  APP_ROLE,
  checkReachable,
  contentOf,
  ensureDatabase,
  type LocalBroker,
  loginAs,
  MQTT_AUTH_ROLE,
  markAsLocal,
  registerBrokers,
} from './database.ts';
import { demoKey } from './demo-key.ts';
import { startBroker } from './mqtt-broker.ts';
import { startOffline } from './offline.ts';
import { startPostgres } from './postgres.ts';
import { giveProbeUser } from './probe.ts';
import { commandOf, parentOf } from './processes.ts';
import { checkPorts, readSettings, type Settings } from './settings.ts';
import {
  DATA_DIR,
  hashOf,
  loadSecrets,
  lockState,
  OFFLINE_LOG,
  POSTGRES_LOG,
  postgresPort,
  ROOT,
  removeLocalFile,
  type Secrets,
  saveSecrets,
  unlockState,
  writeLocalFile,
} from './state.ts';

/** After a crash, how long to wait for processes that the watchdog is ending. */
const HANDOVER_MS = 12_000;
/** The terminal sends Ctrl-C to us, and npm sends it again. */
const SAME_KEYSTROKE_MS = 500;

/** Stops what has been started, to be called in reverse order. */
const stoppers: (() => Promise<void> | void)[] = [];
let stoppingSince: number | undefined;
/** The functions' output is shown only while ready: not our own requests at the start, not the noise at the end. */
let isReady = false;

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, onSignal);
// A closed output is no reason to stop.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});
stopWithNpm();

try {
  await start(readSettings(process.env), isConfirmed(process.argv.slice(2)));
} catch (error) {
  await stop(1, describeError(error));
}

async function start(settings: Settings, mayUseAny: boolean): Promise<void> {
  const { crashed } = lockState();
  process.once('exit', () => {
    removeLocalFile();
    unlockState();
  });
  await checkPorts(settings, crashed ? HANDOVER_MS : 0);
  const secrets = loadSecrets();
  const databaseUrl = await openDatabase(settings);
  const isEmbedded = !settings.databaseUrl;
  const getsDemo = isEmbedded || (await mayGetDemo(databaseUrl, mayUseAny));
  await step('migrations', async () => {
    const roles = isEmbedded ? { appUser: APP_ROLE, mqttAuthUser: MQTT_AUTH_ROLE } : {};
    const applied = await withDatabase(databaseUrl, (url) => migrate(url, roles));
    return applied.length === 0 ? 'up to date' : `${applied.length} applied`;
  });
  const register = (url: string) => registerBrokers(url, settings.mqttPorts);
  const brokers = getsDemo ? await withDatabase(databaseUrl, register) : [];
  if (getsDemo) await step('MQTT brokers', () => openBrokers(brokers, databaseUrl));
  const loginOf = async (role: string) => (isEmbedded ? loginAs(role, databaseUrl) : databaseUrl);
  const logins = { DATABASE_URL: await loginOf(APP_ROLE), MQTT_AUTH_DATABASE_URL: await loginOf(MQTT_AUTH_ROLE) };
  await step('panel', async () => ((await buildPanelIfChanged()) ? 'built' : 'unchanged'));
  console.log('… functions: building and loading them (5 to 20 s)');
  await step('functions', () => openFunctions(settings.port, logins, secrets));
  const url = `http://localhost:${settings.port}`;
  const api = `http://127.0.0.1:${settings.port}/api/v1`;
  const provisioningKey = getsDemo ? await keptDemoKey(api, secrets) : '';
  if (getsDemo) await giveProbeUser(api, databaseUrl, brokers, secrets);
  if (stoppingSince) return;
  const listed = brokers.map(({ id, name, url }) => ({ id, name, url }));
  const local = { url, adminToken: secrets.adminToken, provisioningKey, databaseUrl, brokers: listed };
  stoppers.push(removeLocalFile);
  writeLocalFile(local);
  console.log(banner(local, brokers, secrets.probePassword));
  isReady = true;
}

/** `npm start -- --yes` */
function isConfirmed(args: string[]): boolean {
  const unknown = args.find((arg) => arg !== '--yes');
  if (unknown) throw new UserError(`npm start knows only the option --yes, not ${unknown}.`);
  return args.includes('--yes');
}

/**
 * Whether the database of DATABASE_URL may get the embedded brokers and a demo key. One that has brokers never does.
 * @throws UserError for a database that is somebody's, unless this is confirmed
 */
async function mayGetDemo(databaseUrl: string, mayUseAny: boolean): Promise<boolean> {
  const { kind, hasBrokers } = await withDatabase(databaseUrl, contentOf);
  if (kind === 'other' && !mayUseAny) {
    const { hostname, pathname } = new URL(databaseUrl);
    throw new UserError(
      `The database ${pathname.slice(1)} on ${hostname} (DATABASE_URL) is not empty, and npm start would migrate it. If you want that: \`npm start -- --yes\`.`,
    );
  }
  if (kind === 'other' && hasBrokers) return false;
  await withDatabase(databaseUrl, markAsLocal);
  return true;
}

/** Starts the embedded database, or checks the one of DATABASE_URL. */
async function openDatabase({ databaseUrl }: Settings): Promise<string> {
  if (databaseUrl) {
    await step('database', () => checkReachable(databaseUrl).then(() => 'the one of DATABASE_URL'));
    return databaseUrl;
  }
  let url = '';
  await step('PostgreSQL 18', async () => {
    const port = await postgresPort();
    const options = { dataDir: DATA_DIR, port, maxConnections: 200, log: POSTGRES_LOG, say: console.log };
    const postgres = await startPostgres(options);
    stoppers.push(postgres.stop);
    void postgres.exited.then(() =>
      stop(1, `PostgreSQL has ended unexpectedly. Its log ends with:\n${postgres.lastLog()}`),
    );
    await ensureDatabase(postgres.url('postgres'), 'berth');
    url = postgres.url('berth');
    return `on 127.0.0.1:${port}`;
  });
  return url;
}

async function openBrokers(brokers: LocalBroker[], databaseUrl: string): Promise<string> {
  for (const { id, name, port } of brokers) {
    const broker = await startBroker({ port, id, databaseUrl, log: (line) => console.log(`${name}: ${line}`) });
    stoppers.push(broker.close);
  }
  return `on ${brokers.map(({ port }) => port).join(' and ')}`;
}

async function openFunctions(
  port: number,
  logins: { DATABASE_URL: string; MQTT_AUTH_DATABASE_URL: string },
  { pepper, sealKey, adminToken }: Secrets,
): Promise<string> {
  const env = {
    ...logins,
    BERTH_PEPPER: process.env.BERTH_PEPPER || pepper,
    BERTH_SEAL_KEY: process.env.BERTH_SEAL_KEY || sealKey,
    BERTH_STAGE: 'local',
    ADMIN_AUTH: 'token',
    ADMIN_TOKEN_HASH: hashOf(adminToken),
    // The panel is served already signed in, only to this machine (lib/panel/describe.ts).
    PANEL_LOCAL_TOKEN: adminToken,
    POWERTOOLS_LOG_LEVEL: process.env.POWERTOOLS_LOG_LEVEL || 'WARN',
    POWERTOOLS_METRICS_DISABLED: 'true',
    AWS_REGION: 'eu-central-1',
  };
  const say = (line: string) => isReady && console.log(line);
  const offline = await startOffline({ root: ROOT, port, env, logFile: OFFLINE_LOG, say });
  stoppers.push(offline.stop);
  void offline.exited.then(() =>
    stop(1, `serverless-offline has ended unexpectedly. It printed last:\n${offline.lastLog()}`),
  );
  return `on 127.0.0.1:${port}`;
}

/** Issues the demo key through the API, and keeps it as long as it is valid. */
async function keptDemoKey(api: string, secrets: Secrets): Promise<string> {
  const pepperHash = hashOf(process.env.BERTH_PEPPER || secrets.pepper);
  const known = secrets.demoKey?.pepperHash === pepperHash ? secrets.demoKey.key : undefined;
  const key = await demoKey(api, secrets.adminToken, known);
  if (key !== known) saveSecrets({ ...secrets, demoKey: { key, pepperHash } });
  return key;
}

/** Runs a part of the start, and prints its result and its time. */
async function step(name: string, run: () => Promise<string>): Promise<void> {
  if (stoppingSince) await new Promise(() => {});
  const begin = performance.now();
  const what = await run();
  console.log(`✓ ${name}: ${what} (${((performance.now() - begin) / 1000).toFixed(1)} s)`);
}

function onSignal(): void {
  if (stoppingSince === undefined) void stop(0, 'Stopping. The data is kept.');
  // The watchdog ends what is still running.
  else if (Date.now() - stoppingSince > SAME_KEYSTROKE_MS) process.exit(130);
}

/** Stops everything once, in reverse order, and ends this process. */
async function stop(exitCode: number, why: string): Promise<void> {
  if (stoppingSince !== undefined) return;
  stoppingSince = Date.now();
  isReady = false;
  (exitCode === 0 ? console.log : console.error)(`\n${why}`);
  for (const stopper of stoppers.reverse()) {
    try {
      await stopper();
    } catch (error) {
      console.error(describeError(error));
    }
  }
  process.exit(exitCode);
}

/** A killed npm does not end this process, nor the shell between npm and this process. */
function stopWithNpm(): void {
  if (process.env.npm_lifecycle_event !== 'start') return;
  const parent = process.ppid;
  const shell = commandOf(parent).startsWith('sh ') ? parent : undefined;
  const npm = shell && parentOf(shell);
  const timer = setInterval(() => {
    if (process.ppid !== parent || (shell && parentOf(shell) !== npm)) void stop(1, 'npm has ended. Stopping.');
  }, 500);
  timer.unref();
}
