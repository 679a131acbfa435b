import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'vitest';

/** Includes the directories of daemons, which are not in every user's PATH. */
const DIRS = [...(process.env.PATH ?? '').split(path.delimiter), '/usr/sbin', '/usr/local/sbin'];

/** The path of a program; undefined if it is not installed. */
export function programPath(name: string): string | undefined {
  return DIRS.map((dir) => path.join(dir, name)).find((file) => existsSync(file));
}

/** The path of a Python that has paho-mqtt: Debian's is not always the first in the PATH. */
export function pythonWithPaho(): string | undefined {
  return ['/usr/bin/python3', programPath('python3')].find(
    (python) => python && spawnSync(python, ['-c', 'import paho.mqtt.client']).status === 0,
  );
}

/**
 * Tests that need other programs. If one is missing, the tests are reported as skipped; in CI they fail.
 *
 * @param packages the Debian packages, for the message
 * @param pathOf finds a program
 */
export function describeInstalled(
  title: string,
  programs: string[],
  packages: string[],
  tests: () => void,
  pathOf: (name: string) => string | undefined = programPath,
): void {
  const missing = programs.filter((name) => !pathOf(name));
  if (missing.length > 0) {
    it(`${title}: not run, ${missing.join(' and ')} missing`, ({ skip }) => {
      const install = `apt-get install ${packages.join(' ')}`;
      if (process.env.CI) throw new Error(`${missing.join(' and ')} must be there in CI: ${install}`);
      console.warn(`${title}: not run. To run it: ${install}`);
      skip(install);
    });
  }
  describe.runIf(missing.length === 0)(title, tests);
}

/** As root, some daemons switch to another user. */
export const isRoot = process.getuid?.() === 0;
