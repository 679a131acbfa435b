import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { APIGatewayProxyStructuredResultV2 } from 'aws-lambda';
import { unzipSync } from 'fflate';
import { parse } from 'yaml';
import { type Answer, answerOf, type Call, eventFor } from './api.ts';
import { run } from './stack.ts';

/** A function of serverless.yml as it is deployed. */
export type PackagedFunction = {
  name: string;
  /** The module in the zip, and which of its exports Lambda calls. */
  module: string;
  exportName: string;
  files: Record<string, Uint8Array>;
};

/** A running function: Node in a directory with only the files of its zip. */
export type BareFunction = {
  child: ChildProcess;
  /** What the module exports. */
  exports: string[];
  call(target: string, options?: Call): Promise<Answer>;
  /** Invokes it with an event other than HTTP. */
  invoke(event: object): Promise<unknown>;
  stop(): Promise<void>;
};

/**
 * Runs `serverless package` in `dir` without credentials and without a network.
 * @param env the environment for serverless.yml
 * @param options of the command
 */
export async function serverlessPackage(dir: string, env: Record<string, string>, options: string[] = []) {
  const { status, output } = await serverlessCommand('package', dir, env, options);
  if (status !== 0) throw new Error(output);
}

/**
 * Runs a command of serverless in `dir` without credentials but those of `env`, and without a network but 127.0.0.1.
 * @throws Error when it tries to reach another machine
 */
export async function serverlessCommand(
  command: 'package' | 'deploy',
  dir: string,
  env: Record<string, string>,
  options: string[],
): Promise<{ status: number | null; output: string }> {
  const offline = fileURLToPath(new URL('offline.mjs', import.meta.url));
  const program = run(process.execPath, ['node_modules/serverless/bin/serverless.js', command, ...options], {
    cwd: dir,
    // An empty home: the credentials file of whoever runs the tests is not found, either.
    env: { ...withoutCredentials(), ...env, HOME: dir, NODE_OPTIONS: `--import ${offline}` },
  });
  const status = await program.ended;
  const output = program.output();
  if (/network: /.test(output)) throw new Error(output);
  return { status, output };
}

/** Packages the project in `dir`; see {@link serverlessPackage}. */
export async function packageProject(dir: string, env: Record<string, string>): Promise<PackagedFunction[]> {
  await serverlessPackage(dir, env);
  const { functions } = parse(readFileSync(path.join(dir, 'serverless.yml'), 'utf8')) as {
    functions: Record<string, { handler: string }>;
  };
  const zips = readdirSync(path.join(dir, '.serverless')).filter((name) => name.endsWith('.zip'));
  return zips.map((zip) => {
    const name = zip.replace(/\.zip$/, '');
    const [file = '', exportName = ''] = functions[name]?.handler.split('.') ?? [];
    const files = unzipSync(readFileSync(path.join(dir, '.serverless', zip)));
    return { name, module: `${file}.mjs`, exportName, files };
  });
}

function withoutCredentials(): Record<string, string> {
  return Object.fromEntries(
    Object.keys(process.env)
      .filter((name) => /^(AWS|SLS|SERVERLESS)_/.test(name))
      .map((name) => [name, '']),
  );
}

/**
 * Starts a packaged function with only this environment.
 * @param modules a directory of packages for it, such as Lambda's SDK
 */
export async function startBare(
  { module, exportName, files }: PackagedFunction,
  env: Record<string, string>,
  modules?: string,
): Promise<BareFunction> {
  const dir = mkdtempSync(path.join(tmpdir(), 'berth-bare-'));
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(path.join(dir, path.dirname(name)), { recursive: true });
    writeFileSync(path.join(dir, name), content);
  }
  if (modules) symlinkSync(modules, path.join(dir, 'node_modules'));
  copyFileSync(new URL('bare-runtime.mjs', import.meta.url), path.join(dir, 'runtime.mjs'));
  const child = spawn(process.execPath, ['runtime.mjs', module], {
    cwd: dir,
    env: { POWERTOOLS_LOG_LEVEL: 'SILENT', POWERTOOLS_METRICS_DISABLED: 'true', ...env },
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  const ended = once(child, 'exit');
  const answer = async () => {
    const [message] = await Promise.race([once(child, 'message'), ended.then(() => [{ error: 'it has ended' }])]);
    const { result, error } = message as { result: unknown; error?: string };
    if (error) throw new Error(`${module}: ${error}`);
    return result;
  };
  const invoke = (event: object, remainingMs = 10_000) => {
    child.send({ exportName, event, remainingMs });
    return answer();
  };
  const exports = (await answer()) as string[];
  return {
    child,
    exports,
    invoke: (event) => invoke(event, 70_000),
    call: async (target, options) => {
      const { event } = await eventFor(target, options);
      return answerOf((await invoke(event, options?.remainingMs)) as APIGatewayProxyStructuredResultV2);
    },
    stop: async () => {
      child.kill('SIGKILL');
      await ended;
      rmSync(dir, { recursive: true, force: true });
    },
  };
}
