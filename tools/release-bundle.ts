import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const OUT = path.join(ROOT, 'tests/releases/previous.mjs');

/** The SHA-256 of every migration in `root`, by its name. */
export function migrationHashes(root: string): Record<string, string> {
  const dir = path.join(root, 'migrations');
  const files = readdirSync(dir).filter((name) => /^\d.*\.sql$/.test(name));
  const hashOf = (file: string) =>
    createHash('sha256')
      .update(readFileSync(path.join(dir, file)))
      .digest('hex');
  return Object.fromEntries(files.sort().map((file) => [file.replace('.sql', ''), hashOf(file)]));
}

/**
 * Writes the functions for devices of this release to tests/releases/previous.mjs. The tests of the next release run them
 * on its schema. The file contains our own code only: packages are imported.
 *
 * @param root of the release's checkout
 */
async function bundleRelease(root: string): Promise<void> {
  const { version } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'));
  const release = JSON.stringify({ version, migrations: migrationHashes(root) }, null, 2);
  await build({
    stdin: {
      contents: `
        export { handler as register } from './functions/register.ts';
        export { handler as keyExchange } from './functions/key-exchange.ts';
        export { handler as deviceMqtt } from './functions/device-mqtt.ts';
        export { handler as provisioningKeys } from './functions/provisioning-keys.ts';
        export { reloadSettings } from './lib/settings/settings.ts';
        export { closeDatabase } from './lib/database/db.ts';
        export const release = ${release};`,
      resolveDir: root,
      sourcefile: 'release.ts',
    },
    absWorkingDir: root,
    bundle: true,
    packages: 'external',
    platform: 'node',
    format: 'esm',
    target: 'node24',
    charset: 'utf8',
    banner: { js: `// Berth ${version} as it was released; \`npm run release:bundle\` made it. Not to be edited.` },
    outfile: OUT,
  });
}

if (import.meta.main) await bundleRelease(path.resolve(process.argv[2] ?? ROOT));
