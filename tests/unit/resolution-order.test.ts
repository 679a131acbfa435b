import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';

const ROOT = new URL('../../', import.meta.url).pathname;
/** The migration that has berth_resolve, and the dump of the schema that it makes. */
const HOME = ['migrations/0007_resolution.sql', 'migrations/schema.sql'];
/** Released before berth_resolve, or kept as released. */
const BEFORE = /^(migrations\/000[1-6]_|tests\/)/;

/** Words of each step, and how close together they make an order: lines. */
const STEPS = [/mqtt_broker_id|assigned_broker/, /default_broker_id/, /is_default|getDefaultBrokerConfig/];
const CLOSE = 8;

/** The lines of a text around which all three steps are named. */
function ordersIn(text: string): number[] {
  const lines = text.split('\n');
  return lines.flatMap((_, index) => {
    const near = lines.slice(index, index + CLOSE).join('\n');
    return STEPS.every((step) => step.test(near)) ? [index + 1] : [];
  });
}

const tracked = execFileSync('git', ['ls-files'], { cwd: ROOT, encoding: 'utf8' }).split('\n');
const queries = tracked.filter((file) => /\.(ts|sql|mjs)$/.test(file) && !HOME.includes(file) && !BEFORE.test(file));
/** SQL of documents: their code blocks. */
const documents = tracked.filter((file) => file.endsWith('.md') && file !== 'CHANGELOG.md');

it('finds the order of the steps where it is', () => {
  for (const file of HOME) expect(ordersIn(readFileSync(path.join(ROOT, file), 'utf8')), file).not.toEqual([]);
});

it.each(queries)('%s does not repeat the order of the resolution’s steps', (file) => {
  expect(ordersIn(readFileSync(path.join(ROOT, file), 'utf8'))).toEqual([]);
});

it.each(documents)('%s has no query that repeats the order of the resolution’s steps', (file) => {
  const text = readFileSync(path.join(ROOT, file), 'utf8');
  const blocks = [...text.matchAll(/^```[a-z]*\n(.*?)^```/gms)].map(([, block]) => block as string);
  expect(blocks.flatMap(ordersIn)).toEqual([]);
});
