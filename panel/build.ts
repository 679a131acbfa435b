import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';
import { build, type Metafile, type Plugin } from 'esbuild';

const ROOT = new URL('.', import.meta.url).pathname;
export const DIST = path.join(ROOT, 'dist');
const ASSETS = '/assets/';

const TYPES: Record<string, string> = {
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml',
};

/** A built file. Sizes are bytes. `isFirstLoad`: every page needs it. */
export type Asset = { path: string; type: string; bytes: number; gzip: number; brotli: number; isFirstLoad: boolean };
export type Manifest = { index: Asset; assets: Asset[] };

/**
 * Builds the panel: `index.html`, `assets/NAME-HASH.EXT` each with `.br` and `.gz` beside it, and `manifest.json`. The same
 * sources give the same names.
 */
export async function buildPanel({ outDir = DIST }: { outDir?: string } = {}): Promise<Manifest> {
  const { outputFiles, metafile } = await bundle([oneSharedChunk((await bundle()).metafile)]);
  const first = firstLoad(metafile);
  const files = outputFiles.map((file) => ({
    path: path.posix.join('/', path.relative('/', file.path)),
    contents: file.contents,
  }));
  const page = Buffer.from(
    indexOf(
      files.map((file) => file.path),
      first,
    ),
  );
  rmSync(outDir, { recursive: true, force: true });
  mkdirSync(path.join(outDir, ASSETS), { recursive: true });
  const manifest: Manifest = {
    index: write(outDir, '/index.html', page, true),
    assets: files.map((file) => write(outDir, file.path, file.contents, first.has(file.path))),
  };
  writeFileSync(path.join(outDir, 'manifest.json'), JSON.stringify(manifest, null, 2));
  return manifest;
}

function bundle(plugins: Plugin[] = []) {
  return build({
    entryPoints: { main: 'src/main.tsx', theme: 'src/theme-first.ts', style: 'src/style.css', icon: 'src/icon.svg' },
    absWorkingDir: ROOT,
    outdir: ASSETS,
    bundle: true,
    splitting: true,
    format: 'esm',
    target: 'es2022',
    minify: true,
    charset: 'utf8',
    legalComments: 'none',
    jsx: 'automatic',
    jsxImportSource: 'preact',
    loader: { '.svg': 'copy' },
    entryNames: '[name]-[hash]',
    chunkNames: '[name]-[hash]',
    define: { 'process.env.NODE_ENV': '"production"' },
    plugins,
    metafile: true,
    write: false,
    logLevel: 'warning',
  });
}

const SHARED = 'berth:shared';
const STANDALONE = ['src/theme-first.ts', 'src/style.css', 'src/icon.svg'];

/**
 * Puts everything that more than one page uses into one chunk. esbuild makes a chunk for each set of pages that share something:
 * a page had 15 requests, each a request to the panel's function. If each page imports all that is shared, there is one set.
 *
 * @param of a build without this plugin, which shows what is shared
 */
function oneSharedChunk({ outputs }: Metafile): Plugin {
  const entries = Object.values(outputs).flatMap(({ entryPoint }) =>
    entryPoint && !STANDALONE.includes(entryPoint) ? [entryPoint] : [],
  );
  const shared = Object.values(outputs)
    .filter(({ entryPoint }) => entryPoint === undefined)
    .flatMap(({ inputs }) => Object.keys(inputs))
    .filter((file) => /^src\/.*\.tsx?$/.test(file))
    .sort();
  return {
    name: 'one-shared-chunk',
    setup(building) {
      building.onResolve({ filter: new RegExp(`^${SHARED}$`) }, () => ({ path: SHARED, namespace: SHARED }));
      building.onLoad({ filter: /.*/, namespace: SHARED }, () => ({
        contents: [
          ...shared.map((file, index) => `import * as m${index} from './${file}';`),
          `export const keep = () => [${shared.map((_, index) => `m${index}`)}];`,
        ].join('\n'),
        resolveDir: ROOT,
      }));
      building.onLoad({ filter: /\/panel\/src\/.*\.tsx?$/ }, ({ path: file }) => {
        if (!entries.includes(path.relative(ROOT, file))) return undefined;
        const contents = `${readFileSync(file, 'utf8')}\nimport { keep } from '${SHARED}'; keep();`;
        return { contents, loader: file.endsWith('x') ? 'tsx' : 'ts' };
      });
    },
  };
}

/** The entry points with everything that they import statically. */
function firstLoad({ outputs }: Metafile): Set<string> {
  const found = new Set<string>();
  const entries = Object.entries(outputs).filter(([, { entryPoint }]) =>
    ['src/main.tsx', 'src/theme-first.ts', 'src/style.css'].includes(entryPoint ?? ''),
  );
  const waiting = entries.map(([name]) => name);
  for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
    const absolute = absoluteOf(name);
    if (found.has(absolute)) continue;
    found.add(absolute);
    const { imports = [] } = outputs[name] ?? {};
    waiting.push(...imports.filter(({ kind }) => kind === 'import-statement').map((one) => one.path));
  }
  // The icon is copied, so it has no entry point of its own.
  for (const name of Object.keys(outputs)) if (name.endsWith('.svg')) found.add(absoluteOf(name));
  return found;
}

function absoluteOf(name: string): string {
  return path.resolve(ROOT, name);
}

/** The page, with the names of the built files. Neither it nor a script of it contains inline code: the CSP forbids it. */
function indexOf(paths: string[], first: Set<string>): string {
  const named = (name: string, extension: string): string => {
    const pattern = new RegExp(`^${ASSETS}${name}-[A-Z0-9]+\\${extension}$`);
    const found = paths.find((one) => pattern.test(one));
    if (!found) throw new Error(`the build has no ${name}${extension}`);
    return found;
  };
  const main = named('main', '.js');
  const theme = named('theme', '.js');
  const preloads = paths
    .filter((one) => first.has(one) && one.endsWith('.js') && one !== main && one !== theme)
    .map((one) => `<link rel="modulepreload" href="${one}">`);
  return readFileSync(path.join(ROOT, 'src/index.html'), 'utf8')
    .replace('{icon}', named('icon', '.svg'))
    .replace('{theme}', theme)
    .replace('{style}', named('style', '.css'))
    .replace('{preloads}', preloads.join('\n    '))
    .replace('{main}', main);
}

function write(outDir: string, name: string, contents: Uint8Array, isFirstLoad: boolean): Asset {
  const brotli = brotliCompressSync(contents, { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } });
  const gzip = gzipSync(contents, { level: 9 });
  const file = path.join(outDir, name);
  writeFileSync(file, contents);
  writeFileSync(`${file}.br`, brotli);
  writeFileSync(`${file}.gz`, gzip);
  const type = name.endsWith('.html')
    ? 'text/html; charset=utf-8'
    : (TYPES[path.extname(name)] ?? 'application/octet-stream');
  return { path: name, type, bytes: contents.length, gzip: gzip.length, brotli: brotli.length, isFirstLoad };
}

if (import.meta.main) {
  const started = performance.now();
  const { index, assets } = await buildPanel();
  for (const { path: name, bytes, brotli, isFirstLoad } of assets) {
    console.log(
      `${isFirstLoad ? '*' : ' '} ${name.padEnd(44)} ${String(bytes).padStart(8)} ${String(brotli).padStart(8)}`,
    );
  }
  const first = [index, ...assets.filter((asset) => asset.isFirstLoad)];
  const sum = first.reduce((bytes, asset) => bytes + asset.brotli, 0);
  console.log(`first load (*) ${sum} bytes with brotli; built in ${Math.round(performance.now() - started)} ms`);
}
