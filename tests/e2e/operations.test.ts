import { spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createAuthority } from '../support/certificates.ts';
import { cloneProject, type Program, startStack } from '../support/stack.ts';

/** Runs docs/operations.md: every `sh` block in one shell, each compared with the `text` block that follows it. */
type Step = { title: string; commands: string; expected: string | undefined };

const document = readFileSync(new URL('../../docs/operations.md', import.meta.url), 'utf8');
const steps = [...document.matchAll(/^```sh\n(.*?)^```\n(?:\n+```text\n(.*?)^```)?/gms)].map((match): Step => {
  const title =
    document
      .slice(0, match.index)
      .match(/^#+ .*$/gm)
      ?.at(-1) ?? '';
  return { title, commands: match[1] ?? '', expected: match[2] };
});

const clone = cloneProject();
let stack: Program;
let shell: ReturnType<typeof startShell>;

beforeAll(async () => {
  ({ stack } = await startStack(clone.dir));
  writeFileSync(path.join(clone.dir, 'ca.pem'), (await createAuthority('Berth operations')).cert);
  shell = startShell();
});
afterAll(async () => {
  shell.stop();
  await stack.end('SIGINT');
  clone.remove();
});

it.each(steps)('$title', async ({ commands, expected }) => {
  const output = await shell.run(commands);
  if (expected !== undefined) expectLike(output, expected);
});

/** A shell that keeps its variables from one run to the next. */
function startShell() {
  const child = spawn('bash', [], { cwd: clone.dir, stdio: ['pipe', 'pipe', 'inherit'] });
  let output = '';
  child.stdout.on('data', (data) => {
    output += data;
  });
  return {
    stop: () => child.kill(),
    run: async (commands: string): Promise<string> => {
      output = '';
      child.stdin.write(`${commands}\necho; echo end-of-step\n`);
      while (!output.includes('end-of-step\n')) await new Promise((resolve) => setTimeout(resolve, 20));
      return output.replace(/\n?end-of-step\n$/, '');
    },
  };
}

/** The parts between the `…` must come one after the other. */
function expectLike(output: string, expected: string): void {
  let at = 0;
  for (const part of expected.trim().split(/\s*…\s*/)) {
    const found = output.indexOf(part.trim(), at);
    expect(found, `“${part}” is missing after ${at} in:\n${output}`).toBeGreaterThanOrEqual(at);
    at = found + part.length;
  }
}
