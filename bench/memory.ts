import type { Instance } from './instances.ts';
import { type Part, progress } from './part.ts';
import type { BenchKey } from './requests.ts';
import { startServer } from './server.ts';
import { short, table } from './table.ts';

const PER_SECOND = 1_000;

export type MemoryFigures = { samples: { requests: number; rssMb: number; heapMb: number }[] };

/** The memory of one instance after 1,000 registrations, and after a hundred times as many. */
export const run: Part = async ({ quick }) => {
  const milestones = quick ? [100, 500, 1_000] : [1_000, 10_000, 50_000, 100_000];
  const tell = progress('memory', (milestones.at(-1) as number) / PER_SECOND);
  // No waiting for the disk: only the instance is measured.
  const server = await startServer({ synchronous_commit: 'off' });
  try {
    const checkout = await server.checkout();
    const [key] = (await checkout.issueKeys(1)) as [BenchKey];
    const [instance] = (await checkout.instances(1)) as [Instance];
    const samples: MemoryFigures['samples'] = [];
    let done = 0;
    for (const requests of milestones) {
      tell(`up to ${requests} registrations`, (requests - done) / PER_SECOND);
      await instance.ask('registerMany', { key, count: requests - done });
      done = requests;
      samples.push({ requests, ...(await instance.ask('memory')) });
    }
    const rows = samples.map(({ requests, rssMb, heapMb }) => [requests, short(rssMb), short(heapMb)]);
    console.log(`\n${table(['registrations', 'RSS MB', 'heap MB'], rows)}\n`);
    return { samples };
  } finally {
    await server.stop();
  }
};
