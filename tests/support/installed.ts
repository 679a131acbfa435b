import { existsSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'vitest';

/** PATH, and the directories of daemons, which are often not in PATH. */
const DIRS = [...(process.env.PATH ?? '').split(path.delimiter), '/usr/sbin', '/usr/local/sbin'];

/** The path of a program; undefined: it is not installed. */
export function programPath(name: string): string | undefined {
  return DIRS.map((dir) => path.join(dir, name)).find((file) => existsSync(file));
}

/**
 * Tests that need other programs. If one is missing, they are reported as not run. In CI they fail.
 *
 * @param packages Debian's packages, for the message
 */
export function describeInstalled(title: string, programs: string[], packages: string[], tests: () => void): void {
  const missing = programs.filter((name) => !programPath(name));
  if (missing.length > 0) {
    it(`${title}: not run, ${missing.join(' and ')} missing`, ({ skip }) => {
      const install = `apt-get install ${packages.join(' ')}`;
      if (process.env.CI) throw new Error(`${missing.join(' and ')} must be installed in CI: ${install}`);
      console.warn(`${title}: not run. To run it: ${install}`);
      skip(install);
    });
  }
  describe.runIf(missing.length === 0)(title, tests);
}

/** Some daemons change their user if root starts them. */
export const isRoot = process.getuid?.() === 0;
