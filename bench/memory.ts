import { addBrokerAndKeys, benchDatabase, deployedEnv } from './database.ts';
import type { Memory } from './instance.ts';
import { type Instance, startInstances } from './instances.ts';
import { progress } from './progress.ts';
import type { BenchKey } from './requests.ts';
import type { Part } from './run.ts';
import { short, table } from './table.ts';

const PER_SECOND = 1_000;

export type MemoryFigures = { samples: ({ requests: number } & Memory)[] };

/** What one instance keeps in memory after 1,000 registrations, and after a hundred times as many. */
export const run: Part = async ({ quick }) => {
  const milestones = quick ? [100, 500, 1_000] : [1_000, 10_000, 50_000, 100_000];
  const tell = progress('memory', (milestones.at(-1) as number) / PER_SECOND);
  const database = await benchDatabase();
  const [key] = (await addBrokerAndKeys(database, 1)) as [BenchKey];
  // Nothing waits for the disk: it is about the instance.
  const url = `${database.url}?synchronous_commit=off`;
  const [instance] = (await startInstances(1, deployedEnv(url))) as [Instance];
  try {
    const samples: MemoryFigures['samples'] = [];
    let done = 0;
    for (const requests of milestones) {
      tell(`up to ${requests} registrations`, (requests - done) / PER_SECOND);
      await instance.ask({ kind: 'registerMany', key, count: requests - done });
      done = requests;
      samples.push({ requests, ...(await instance.ask<Memory>({ kind: 'memory' })) });
    }
    const rows = samples.map(({ requests, rssMb, heapMb }) => [requests, short(rssMb), short(heapMb)]);
    console.log(`\n${table(['registrations', 'RSS MB', 'heap MB'], rows)}\n`);
    return { samples };
  } finally {
    await instance.stop();
    await database.stop();
  }
};
