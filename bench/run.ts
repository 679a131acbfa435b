import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';

/** A part of the benchmark: takes the command line's options, prints as it goes, answers its figures. */
export type Part = (options: Record<string, string | boolean | undefined>) => Promise<Record<string, unknown>>;

/** A part is a file; `npm run bench -- bulk --devices 100000 --json figures.json`. */
const PARTS: Record<string, () => Promise<{ run: Part }>> = {
  register: () => import('./register.ts'),
  bulk: () => import('./bulk.ts'),
  'cold-start': () => import('./cold-start.ts'),
  herd: () => import('./herd.ts'),
  memory: () => import('./memory.ts'),
};

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { devices: { type: 'string' }, json: { type: 'string' }, quick: { type: 'boolean' } },
});
const [name = ''] = positionals;
const load = PARTS[name];
if (!load) {
  console.error(`Usage: npm run bench -- <${Object.keys(PARTS).join(' | ')}> [--devices N] [--json FILE]`);
  process.exit(2);
}
const { run } = await load();
const figures = await run(values);
if (values.json) writeFileSync(values.json, `${JSON.stringify({ part: name, ...figures }, null, 2)}\n`);
