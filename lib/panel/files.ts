import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { brotliCompress, constants, gzip } from 'node:zlib';
import { sha256Hex } from '../crypto/hash.ts';
import { Problem, routeNotFound } from '../errors.ts';
import { packageFile } from '../package-file.ts';
import { settings } from '../settings/settings.ts';

const DIST = 'panel/dist';
type Listed = { path: string; type: string };
/** A file of the package, its content also compressed. `tag` changes with its content. */
export type PanelFile = {
  type: string;
  tag: string;
  contents: { identity: Uint8Array; br: Uint8Array; gzip: Uint8Array };
};

/** What has been read. A package does not change, but the files of a local stack do. */
const read = new Map<string, Promise<unknown>>();

/**
 * The page, which is the same for every path: what it shows follows from the address.
 * @throws Problem `route-not-found` when the panel is not built
 */
export async function panelPage(): Promise<PanelFile> {
  const { index } = await once('manifest', manifest);
  return once(index.path, () => builtFile(index));
}

/**
 * A file that the page names, such as `/assets/main-ABCDEFGH.js`. Its name changes with its content.
 * @throws Problem `route-not-found` also for a file of an earlier build
 */
export async function panelAsset(path: string): Promise<PanelFile> {
  const { assets } = await once('manifest', manifest);
  const listed = assets.find((one) => one.path === path);
  if (!listed) throw new Problem(routeNotFound, 'This file is not part of the panel any more. Load the page again.');
  return once(path, () => builtFile(listed));
}

/** The description of the API. */
export function openApiDocument(): Promise<PanelFile> {
  return once('openapi', async () => {
    const identity = await readFile(packageFile('docs/openapi.json'));
    // Not as small as it could be, but within milliseconds.
    const params = { [constants.BROTLI_PARAM_QUALITY]: 5 };
    const [br, gz] = await Promise.all([
      promisify(brotliCompress)(identity, { params }),
      promisify(gzip)(identity, { level: 6 }),
    ]);
    return { type: 'application/json', tag: tagOf(identity), contents: { identity, br, gzip: gz } };
  });
}

async function manifest(): Promise<{ index: Listed; assets: Listed[] }> {
  const text = await readFile(packageFile(`${DIST}/manifest.json`), 'utf8').catch((cause) => {
    throw new Problem(routeNotFound, 'The panel is not built. Run `npm run panel`, then load this page again.', {
      cause,
    });
  });
  return JSON.parse(text);
}

async function builtFile({ path, type }: Listed): Promise<PanelFile> {
  const parts = ['', '.br', '.gz'].map((ending) => readFile(packageFile(`${DIST}${path}${ending}`)));
  const [identity, br, gz] = (await Promise.all(parts)) as [Buffer, Buffer, Buffer];
  return { type, tag: tagOf(identity), contents: { identity, br, gzip: gz } };
}

function tagOf(content: Uint8Array): string {
  return sha256Hex(content).slice(0, 16);
}

/** Reads once. What could not be read is tried again. */
function once<T>(name: string, load: () => Promise<T>): Promise<T> {
  if (settings().isLocalStack) return load();
  const begun = (read.get(name) as Promise<T> | undefined) ?? load();
  read.set(name, begun);
  begun.catch(() => read.delete(name));
  return begun;
}
