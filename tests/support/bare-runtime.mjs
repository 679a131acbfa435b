// Copied beside a packaged function, where no node_modules is in sight: loads the handlers and answers the
// parent's messages as Lambda's runtime would.
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const functions = await import(pathToFileURL(path.resolve(process.argv[2])).href);
process.on('message', async ({ exportName, event, remainingMs }) => {
  const end = Date.now() + remainingMs;
  const context = { awsRequestId: crypto.randomUUID(), getRemainingTimeInMillis: () => end - Date.now() };
  try {
    process.send({ result: (await functions[exportName](event, context)) ?? null });
  } catch (error) {
    process.send({ error: String(error?.stack ?? error) });
  }
});
process.on('disconnect', () => process.exit());
process.send({ result: Object.keys(functions) });
