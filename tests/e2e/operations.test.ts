import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, it } from 'vitest';
import { createAuthority } from '../support/certificates.ts';
import { expectLike, startShell, stepsOf } from '../support/document.ts';
import { cloneProject, type Program, startStack } from '../support/stack.ts';

/** Runs docs/operations.md: all `sh` blocks in one shell; each output must match the `text` block that follows. */
const steps = stepsOf('operations.md');

const clone = cloneProject();
let stack: Program;
let shell: ReturnType<typeof startShell>;

beforeAll(async () => {
  ({ stack } = await startStack(clone.dir));
  writeFileSync(path.join(clone.dir, 'ca.pem'), (await createAuthority('Berth operations')).cert);
  shell = startShell(clone.dir);
});
afterAll(async () => {
  shell.stop();
  await stack.end('SIGINT');
  clone.remove();
});

it.each(steps)('docs/operations.md: $title', async ({ commands, expected }) => {
  const output = await shell.run(commands);
  if (expected !== undefined) expectLike(output, expected);
});
