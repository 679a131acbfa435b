import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, expect, it } from 'vitest';

/** Tests that the benchmark runs, not how fast: times depend on the machine, sizes and counts do not. */
const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const run = promisify(execFile);
const dir = mkdtempSync(path.join(tmpdir(), 'berth-bench-test-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

async function bench(...args: string[]) {
  const json = path.join(dir, 'figures.json');
  const { stdout } = await run(process.execPath, ['bench/run.ts', ...args, '--quick', '--json', json]);
  return { stdout, figures: JSON.parse(readFileSync(json, 'utf8')) };
}

it('measures cold start and memory, compares two checkouts, writes targets and figures', {
  timeout: 120_000,
}, async () => {
  const { stdout, figures } = await bench('cold-start', 'memory', '--against', ROOT);
  expect(figures.map(({ part }: { part: string }) => part)).toEqual(['cold-start', 'memory']);
  const [coldStart, memory] = figures;
  const register = coldStart.functions.find(({ name }: { name: string }) => name === 'register');
  expect(register).toMatchObject({ bytes: expect.any(Number), importMs: expect.any(Number) });
  expect(register.importMs).toBeGreaterThan(0);
  const sizes = (functions: { name: string; bytes: number }[]) => functions.map(({ name, bytes }) => ({ name, bytes }));
  expect(sizes(coldStart.against)).toEqual(sizes(coldStart.functions));
  expect(memory.samples.length).toBeGreaterThan(1);
  for (const { targets } of figures) expect(targets.length).toBeGreaterThan(0);
  expect(stdout).toMatch(/register: bundle +≤ 140\.0 KB +\d+\.\d KB +yes/);
});

it('lists the parts and exits with 2 for an unknown part', async () => {
  const failed = await bench('nothing').catch((error) => error);
  expect(failed).toMatchObject({ code: 2, stderr: expect.stringContaining('register | cold-start | memory') });
});
