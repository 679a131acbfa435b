import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { expect } from 'vitest';

/** An `sh` block of a document with its heading, and the `text` block that follows it, if any. */
export type Step = { title: string; commands: string; expected: string | undefined };

/** The `sh` blocks of docs/<name>, from top to bottom. */
export function stepsOf(name: string): Step[] {
  const document = readFileSync(new URL(`../../docs/${name}`, import.meta.url), 'utf8');
  return [...document.matchAll(/^```sh\n(.*?)^```\n(?:\n+```text\n(.*?)^```)?/gms)].map((match): Step => {
    const title =
      document
        .slice(0, match.index)
        .match(/^#+ .*$/gm)
        ?.at(-1) ?? '';
    return { title, commands: match[1] ?? '', expected: match[2] };
  });
}

/** A shell that keeps its variables from one run to the next. */
export function startShell(cwd: string, env: Record<string, string> = {}) {
  const child = spawn('bash', [], { cwd, env: { ...process.env, ...env }, stdio: ['pipe', 'pipe', 'inherit'] });
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

/** Expects the parts between the `…` in this order. */
export function expectLike(output: string, expected: string): void {
  let at = 0;
  for (const part of expected.trim().split(/\s*…\s*/)) {
    const found = output.indexOf(part.trim(), at);
    expect(found, `“${part}” is missing after ${at} in:\n${output}`).toBeGreaterThanOrEqual(at);
    at = found + part.length;
  }
}

/** Expects the whole output, from its beginning to its end; `…` stands for any text. */
export function expectExactly(output: string, expected: string): void {
  const text = output.replaceAll('\r', '').trim();
  expectLike(text, expected);
  const parts = expected
    .trim()
    .split('…')
    .map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  expect(text).toMatch(new RegExp(`^${parts.join('[^]*?')}$`));
}
