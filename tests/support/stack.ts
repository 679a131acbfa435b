import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, mkdtempSync, readFileSync, realpathSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePort } from '../../local/ports.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const PARTS = [
  'functions',
  'lib',
  'local',
  'tools',
  'migrations',
  'certificates',
  'infra',
  'examples',
  'docs',
  'panel',
  'serverless.yml',
  'package.json',
  'tsconfig.json',
];

export type Local = {
  url: string;
  adminToken: string;
  provisioningKey: string;
  databaseUrl: string;
  brokers: { id: number; name: string; url: string }[];
};

/** A program that runs during the test. */
export type Program = {
  child: ChildProcess;
  output: () => string;
  /** Waits until the output matches. Rejects with the output if the program ends or takes too long. */
  says: (pattern: RegExp, timeoutMs?: number) => Promise<void>;
  /** Resolves with the exit code when it ends. */
  ended: Promise<number | null>;
  /** Sends the signal, waits for the end, and returns the exit code. */
  end: (signal: NodeJS.Signals) => Promise<number | null>;
};

export function run(command: string, args: string[], options: { cwd: string; env?: Record<string, string> }): Program {
  const child = spawn(command, args, {
    ...options,
    env: { ...process.env, ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let text = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (data) => {
      text += data;
    });
  const ended = once(child, 'exit').then(([code]) => code as number | null);
  return {
    child,
    output: () => text,
    ended,
    says: async (pattern, timeoutMs = 60_000) => {
      for (const end = Date.now() + timeoutMs; !pattern.test(text); ) {
        const over = Date.now() > end || (child.exitCode !== null && !pattern.test(text));
        if (over) throw new Error(`never said ${pattern}:\n${text}`);
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    },
    end: (signal) => {
      child.kill(signal);
      return ended;
    },
  };
}

/** A copy of the project in a directory that only its owner may enter, like those of `mktemp -d`. */
export function cloneProject(): { dir: string; remove: () => void } {
  const dir = mkdtempSync(path.join(realpathSync(tmpdir()), 'berth-clone-'));
  for (const part of PARTS) cpSync(path.join(ROOT, part), path.join(dir, part), { recursive: true });
  symlinkSync(path.join(ROOT, 'node_modules'), path.join(dir, 'node_modules'));
  const remove = () => {
    // If root runs this, the data can be in another directory (local/postgres-home.ts), which reset knows.
    execFileSync(process.execPath, ['local/reset.ts', '--yes'], { cwd: dir });
    rmSync(dir, { recursive: true, force: true });
  };
  return { dir, remove };
}

/** Free ports for `npm start`, as its environment. */
export async function stackPorts(): Promise<{ PORT: string; MQTT_PORTS: string }> {
  // The operating system may give a port again that it gave before.
  const free = new Set<number>();
  while (free.size < 3) free.add(await freePort());
  const [api, ...mqtt] = free;
  return { PORT: String(api), MQTT_PORTS: mqtt.join() };
}

/** Runs `npm start` until it is ready. Tries other ports if another process has taken one meanwhile. */
export async function startStack(
  dir: string,
): Promise<{ stack: Program; ports: Awaited<ReturnType<typeof stackPorts>> }> {
  for (let attempt = 1; ; attempt++) {
    const ports = await stackPorts();
    const stack = run(process.execPath, ['local/start.ts'], { cwd: dir, env: ports });
    try {
      await stack.says(/^Ready\.$/m, 120_000);
      return { stack, ports };
    } catch (error) {
      if (stack.child.exitCode === null) await stack.end('SIGINT');
      if (attempt === 3 || !/is taken/.test(stack.output())) throw error;
    }
  }
}

/** The .berth/local.json of a running `npm start` in `dir`; undefined: none runs. */
export function localFile(dir: string): Local | undefined {
  const file = path.join(dir, '.berth/local.json');
  return existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : undefined;
}
