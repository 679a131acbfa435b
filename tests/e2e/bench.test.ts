import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, expect, it } from 'vitest';

/** That the benchmark runs, not how fast: times are the machine's, sizes and counts are ours. */
const run = promisify(execFile);
const dir = mkdtempSync(path.join(tmpdir(), 'berth-bench-test-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

async function bench(...args: string[]) {
  const json = path.join(dir, 'figures.json');
  const { stdout } = await run(process.execPath, ['bench/run.ts', ...args, '--quick', '--json', json]);
  return { stdout, figures: JSON.parse(readFileSync(json, 'utf8')) };
}

it('cold start and memory: a table each, the targets, and all figures as JSON', { timeout: 120_000 }, async () => {
  const { stdout, figures } = await bench('cold-start', 'memory');
  expect(figures.map(({ part }: { part: string }) => part)).toEqual(['cold-start', 'memory']);
  const [coldStart, memory] = figures;
  const register = coldStart.functions.find(({ name }: { name: string }) => name === 'register');
  expect(register).toMatchObject({ bytes: expect.any(Number), importMs: expect.any(Number) });
  expect(register.importMs).toBeGreaterThan(0);
  expect(memory.samples.length).toBeGreaterThan(1);
  for (const { targets } of figures) expect(targets.length).toBeGreaterThan(0);
  expect(stdout).toMatch(/register: bundle +≤ 140\.0 KB +\d+\.\d KB +yes/);
});

it('a part that there is not: which there are, and exit code 2', async () => {
  const failed = await bench('nothing').catch((error) => error);
  expect(failed).toMatchObject({ code: 2, stderr: expect.stringContaining('register | cold-start | memory') });
});
