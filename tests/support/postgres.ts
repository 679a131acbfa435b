import { randomBytes } from 'node:crypto';
import { chmodSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import type { TestProject } from 'vitest/node';
import { freePort } from '../../local/ports.ts';
import { startPostgres } from '../../local/postgres.ts';
import { isAlive } from '../../local/processes.ts';

declare module 'vitest' {
  export interface ProvidedContext {
    /** The superuser's URL of the run's server, database `postgres`. */
    postgresUrl: string;
  }
}

const PREFIX = 'berth-tests-';

/** Vitest's global setup: one Postgres per run, in a temporary directory, on a free port. */
export default async function setup(project: TestProject) {
  removeLeftovers();
  const dir = mkdtempSync(path.join(tmpdir(), `${PREFIX}${process.pid}-`));
  // If root runs the tests, another user runs the server and needs access.
  chmodSync(dir, 0o711);
  const postgres = await startPostgres({
    dataDir: path.join(dir, 'data'),
    port: await freePort(),
    maxConnections: 300,
    settings: { fsync: 'off' },
  });
  await createRoles(postgres.url('postgres'));
  project.provide('postgresUrl', postgres.url('postgres'));
  return async () => {
    await postgres.stop();
    rmSync(dir, { recursive: true, force: true });
  };
}

/** The role that the handlers log in as in tests. Like `berth_app` on AWS, it is no superuser. */
export const APP_ROLE = 'berth_app';

/** The role of `mqtt-auth`. */
export const MQTT_AUTH_ROLE = 'berth_mqtt_auth';

/** The URL of a database of the run's server for a role. `migrate` grants its rights. */
export function urlAs(role: string, adminUrl: string): string {
  return Object.assign(new URL(adminUrl), { username: role }).href;
}

/** Created once: in PostgreSQL, roles belong to the server. Their password is the superuser's. */
async function createRoles(adminUrl: string): Promise<void> {
  const password = pg.escapeLiteral(new URL(adminUrl).password);
  for (const role of [APP_ROLE, MQTT_AUTH_ROLE]) {
    await execute(adminUrl, `create role ${role} login password ${password}`);
  }
  await execute(adminUrl, `grant pg_read_all_stats to ${APP_ROLE}`);
}

/**
 * Creates a database with a random name for one test file.
 *
 * @param adminUrl the provided `postgresUrl`
 * @param template a database to copy; it must have no connections
 * @returns its URL, and a function that drops it and its connections
 */
export async function createDatabase(
  adminUrl: string,
  { template = 'template1' }: { template?: string } = {},
): Promise<{ url: string; drop(): Promise<void> }> {
  const name = `t_${randomBytes(6).toString('hex')}`;
  await createFrom(adminUrl, name, template);
  const url = new URL(adminUrl);
  url.pathname = `/${name}`;
  return { url: url.href, drop: () => execute(adminUrl, `drop database if exists ${name} with (force)`) };
}

async function createFrom(adminUrl: string, name: string, template: string): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await execute(adminUrl, `create database ${name} template ${pg.escapeIdentifier(template)}`);
    } catch (error) {
      // 55006: the template still has a connection, usually one that is closing.
      if ((error as { code?: string }).code !== '55006' || attempt === 20) throw error;
      await sleep(100);
    }
  }
}

async function execute(url: string, sql: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  await client.query(sql).finally(() => client.end());
}

/** Deletes the directories of earlier runs that were killed. */
function removeLeftovers(): void {
  for (const name of readdirSync(tmpdir()).filter((entry) => entry.startsWith(PREFIX))) {
    const pid = Number(name.slice(PREFIX.length).split('-')[0]);
    if (pid && !isAlive(pid)) rmSync(path.join(tmpdir(), name), { recursive: true, force: true });
  }
}
