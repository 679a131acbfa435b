import fs from 'node:fs';
import path from 'node:path';
import { Foreseen } from './foreseen.ts';
import { type LocalFile, STATE_DIR } from './state.ts';

/**
 * What the running `npm start` of this clone says of itself.
 * @throws Foreseen while none is ready
 */
export function readLocalFile(): LocalFile {
  const file = path.join(STATE_DIR, 'local.json');
  if (!fs.existsSync(file)) throw new Foreseen('Nothing is running here: `npm start` in another terminal first.');
  return JSON.parse(fs.readFileSync(file, 'utf8')) as LocalFile;
}
