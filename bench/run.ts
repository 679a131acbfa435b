import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import type { Part } from './part.ts';
import { table } from './table.ts';
import { type Target, targetsOf } from './targets.ts';

/** A part is a file. `npm run bench -- bulk --devices 100000 --json figures.json`; without a name, all parts. */
const PARTS: Record<string, () => Promise<{ run: Part }>> = {
  register: () => import('./register.ts'),
  'cold-start': () => import('./cold-start.ts'),
  memory: () => import('./memory.ts'),
  herd: () => import('./herd.ts'),
  bulk: () => import('./bulk.ts'),
};
const USAGE = `Usage: npm run bench -- [${Object.keys(PARTS).join(' | ')}] [--devices N] [--against DIR] [--quick] [--json FILE]
--against: register, cold-start and bulk also measure the checkout in DIR, in turns with this one`;

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    devices: { type: 'string' },
    against: { type: 'string' },
    json: { type: 'string' },
    quick: { type: 'boolean' },
  },
});
const names = positionals.length > 0 ? positionals : Object.keys(PARTS);
if (names.some((name) => !PARTS[name])) {
  console.error(USAGE);
  process.exit(2);
}
const parts: { part: string; targets: Target[] }[] = [];
for (const name of names) {
  if (names.length > 1) console.log(`\n== ${name}`);
  const { run } = await (PARTS[name] as () => Promise<{ run: Part }>)();
  const figures = await run(values);
  parts.push({ part: name, ...figures, targets: targetsOf(name, figures) });
  if (values.json) writeFileSync(values.json, `${JSON.stringify(parts.length > 1 ? parts : parts[0], null, 2)}\n`);
}
const rows = parts.flatMap(({ targets }) =>
  targets.map(({ what, target, measured, isMet }) => [what, target, measured, isMet ? 'yes' : 'no']),
);
console.log(`\n${table(['', 'target', 'measured', 'met'], rows)}`);
