import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { type BuildOptions, build, type Metafile } from 'esbuild';
import { parse } from 'yaml';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/** One file of a bundle. It contains code of the files `sources` and of the npm packages `packages`. */
export type BundleFile = { name: string; bytes: number; text: string; sources: string[]; packages: string[] };

/** A function's module with what it imports statically, and the chunks that a request may load. */
export type Bundle = { start: BundleFile[]; onDemand: BundleFile[] };

/**
 * Bundles a file of functions/ with the options of serverless.yml, as serverless-esbuild does.
 *
 * @param name without extension, such as `register`
 * @param dir receives functions/`name`.mjs and its chunks
 * @param root of the checkout
 */
export async function bundleFunction(name: string, dir: string, root = ROOT): Promise<Bundle> {
  const { metafile } = await build({
    ...deployedOptions(root),
    absWorkingDir: root,
    entryPoints: [`functions/${name}.ts`],
    outdir: path.join(dir, 'functions'),
    metafile: true,
    logLevel: 'error',
  });
  const files = Object.keys(metafile.outputs).filter((file) => file.endsWith('.mjs'));
  const start = loadedAtStart(metafile, `functions/${name}.ts`);
  const read = (file: string) => bundleFile(metafile, root, file);
  return {
    start: files.filter((file) => start.has(file)).map(read),
    onDemand: files.filter((file) => !start.has(file)).map(read),
  };
}

function deployedOptions(root: string): BuildOptions {
  const yaml = parse(readFileSync(path.join(root, 'serverless.yml'), 'utf8'));
  const { exclude, outputFileExtension, plugins, watch, ...options } = yaml.custom.esbuild;
  return {
    ...options,
    external: exclude,
    outExtension: { '.js': outputFileExtension },
    plugins: plugins ? createRequire(import.meta.url)(path.join(root, plugins)) : [],
  };
}

function loadedAtStart({ outputs }: Metafile, entryPoint: string): Set<string> {
  const entry = Object.keys(outputs).find((file) => outputs[file]?.entryPoint === entryPoint) as string;
  const start = new Set([entry]);
  for (const file of start) {
    for (const { path: imported, kind } of outputs[file]?.imports ?? []) {
      if (kind === 'import-statement' && imported in outputs) start.add(imported);
    }
  }
  return start;
}

function bundleFile({ outputs }: Metafile, root: string, file: string): BundleFile {
  const inputs = Object.entries(outputs[file]?.inputs ?? {});
  const sources = inputs.filter(([, { bytesInOutput }]) => bytesInOutput > 0).map(([input]) => input);
  const packages = sources.flatMap((source) => /.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(source)?.[1] ?? []);
  const text = readFileSync(path.join(root, file), 'utf8');
  return { name: path.basename(file), bytes: Buffer.byteLength(text), text, sources, packages: [...new Set(packages)] };
}
