import { runProgram, UserError } from '../tools/user-error.ts';
import { readLocalFile } from './state.ts';

const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'];
const USAGE =
  'Usage: npm run -s berth -- [GET | POST | PUT | PATCH | DELETE] /devices/test-123 [\'{"device_name": "Pump 7"}\']';

/** `npm run -s berth -- GET /devices` calls the running local stack as an operator, and prints the answer readably. */
async function berth(args: string[]): Promise<number> {
  const [method = '', path = '', body] = METHODS.includes(args[0] ?? '') ? args : ['GET', ...args];
  if (!path.startsWith('/')) throw new UserError(USAGE);
  const { url, adminToken } = readLocalFile();
  const headers = { authorization: `Bearer ${adminToken}` };
  const reply = await fetch(`${url}/api/v1${path}`, { method, headers, body: body ?? null });
  const text = await reply.text();
  if (!reply.ok) console.error(`${reply.status} ${reply.statusText}`);
  console.log(readable(text));
  return reply.ok ? 0 : 1;
}

function readable(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

await runProgram(() => berth(process.argv.slice(2)));
