// Runs in a fresh process: imports a function, calls it twice with the event from stdin, and writes to file descriptor 3
// how many milliseconds each took.
import { readFileSync, writeSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const [module, exportName] = process.argv.slice(2);
const event = JSON.parse(readFileSync(0, 'utf8'));
const answer = (times) => {
  writeSync(3, JSON.stringify(times));
  process.exit();
};
try {
  const begin = performance.now();
  const handler = (await import(pathToFileURL(path.resolve(module)).href))[exportName];
  const importMs = performance.now() - begin;
  if (event === null) answer({ importMs });
  const call = async () => {
    const began = performance.now();
    const end = Date.now() + 70_000;
    const context = { awsRequestId: crypto.randomUUID(), getRemainingTimeInMillis: () => end - Date.now() };
    const reply = await handler(event, context);
    if (reply?.statusCode >= 400) throw new Error(`${reply.statusCode}: ${reply.body}`);
    return performance.now() - began;
  };
  answer({ importMs, firstMs: await call(), secondMs: await call() });
} catch (error) {
  answer({ error: String(error.stack ?? error) });
}
