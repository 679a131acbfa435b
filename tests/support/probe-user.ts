import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';
import { call } from './api.ts';
import { admin } from './berth.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/** Runs the first command of docs/brokers.md#the-probe-user; returns the body that it prints. */
export function createProbeUser(databaseUrl: string): { username: string; password: string } {
  const env = { ...process.env, DATABASE_URL: databaseUrl };
  return JSON.parse(execFileSync('npm', ['run', '-s', 'probe-user'], { cwd: ROOT, env, encoding: 'utf8' }));
}

/** Gives the user to a broker, as the second command does. */
export async function giveProbeUser(brokerId: number, body: object): Promise<void> {
  expect((await call(`PUT /api/v1/mqtt/brokers/${brokerId}`, { headers: admin, body })).status).toBe(200);
}

/** What the connection test of a broker finds. */
export async function testOf(brokerId: number) {
  return (await call(`POST /api/v1/mqtt/brokers/${brokerId}/test`, { headers: admin })).body.data;
}
