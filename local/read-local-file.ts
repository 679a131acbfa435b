import fs from 'node:fs';
import path from 'node:path';
import { UserError } from '../tools/user-error.ts';
import { type LocalFile, STATE_DIR } from './state.ts';

/**
 * What the running `npm start` of this clone says of itself.
 * @throws UserError while none is ready
 */
export function readLocalFile(): LocalFile {
  const file = path.join(STATE_DIR, 'local.json');
  if (!fs.existsSync(file)) throw new UserError('Nothing is running here: `npm start` in another terminal first.');
  return JSON.parse(fs.readFileSync(file, 'utf8')) as LocalFile;
}
