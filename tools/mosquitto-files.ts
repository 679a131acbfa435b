import { closeSync, openSync, renameSync, writeSync } from 'node:fs';
import path from 'node:path';
// Not lib/database/db.ts: it reads the functions' settings, and a broker's host must not have the pepper.
import postgres from 'postgres';
import { ACCESS, type Acl } from '../lib/mqtt-auth/acl.ts';
import { databaseUrl, withDatabase } from './database-url.ts';
import { runProgram, UserError } from './user-error.ts';

export type MosquittoFiles = {
  databaseUrl: string;
  /** Where `passwords` and `acls` are written. */
  dir: string;
  /** Leaves out devices that this broker does not accept. Undefined: all users. */
  brokerId?: number;
};

/** An entry of both files. */
type FileEntry = { username: string; password_hash: string; is_superuser: boolean; acls: Acl[] };

/** Rows per fetch: a million users do not fit into memory. */
const PAGE_SIZE = 5_000;

/**
 * Writes `passwords` and `acls`, the password_file and acl_file of a Mosquitto. Each file replaces the old one as a whole,
 * so that Mosquitto never reads half of it.
 *
 * @returns the number of users, and the usernames that the files cannot contain
 */
export async function writeMosquittoFiles({ databaseUrl, dir, brokerId }: MosquittoFiles) {
  const sql = postgres(databaseUrl, { max: 1, fetch_types: false, onnotice: () => {} });
  const passwords = replacement(path.join(dir, 'passwords'));
  const acls = replacement(path.join(dir, 'acls'));
  const leftOut: string[] = [];
  let users = 0;
  try {
    for await (const page of selectEntries(sql, brokerId).cursor(PAGE_SIZE)) {
      for (const user of page) {
        const hash = mosquittoHash(user.password_hash);
        if (!hash || !isWritable(user.username)) leftOut.push(user.username);
        else {
          users += 1;
          passwords.write(`${user.username}:${hash}\n`);
          acls.write(aclLines(user));
        }
      }
    }
  } finally {
    await sql.end();
  }
  passwords.finish();
  acls.finish();
  return { users, leftOut };
}

function selectEntries(sql: postgres.Sql, brokerId: number | undefined) {
  return sql<FileEntry[]>`
    select distinct on (u.username) u.username, u.password_hash, u.is_superuser,
           (select coalesce(json_agg(json_build_object('topic', topic, 'access', access) order by id), '[]')
            from mqtt_acls where username = u.username) as acls
    from mqtt_broker_users u
    where coalesce(u.broker_id = ${brokerId ?? null}, true)
    order by u.username`;
}

/** Berth's hash as `$7$iterations$salt$key`; undefined: a hash that Mosquitto cannot read (bcrypt). */
function mosquittoHash(hash: string): string | undefined {
  const [, rest, salt = ''] = /^PBKDF2\$sha512\$(\d+\$([^$]+)\$[^$]+)$/.exec(hash) ?? [];
  return Buffer.from(salt, 'base64').length === 12 ? `$7$${rest}` : undefined;
}

/** Whether Mosquitto reads the name as it is: it removes blanks, and ends a name at a colon or a line break. */
function isWritable(name: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these characters are refused
  return name === name.trim() && !/^#|[:\u0000-\u001f]/.test(name);
}

function aclLines({ username, is_superuser, acls }: FileEntry): string {
  const granted = is_superuser ? [{ topic: '#', access: 7 }] : acls;
  const lines = granted.flatMap(({ topic, access }) => {
    const word = accessWord(access);
    return word && isWritable(topic.replaceAll(':', '').replace(/^#/, '')) ? [`topic ${word} ${topic}\n`] : [];
  });
  return `user ${username}\n${lines.join('')}\n`;
}

/** Mosquitto's files have no word for subscribing. `read` includes it, and therefore needs both bits. */
function accessWord(access: number): string | undefined {
  const receives = ACCESS.read | ACCESS.subscribe;
  const reads = (access & receives) === receives;
  const writes = (access & ACCESS.write) !== 0;
  if (reads && writes) return 'readwrite';
  return reads ? 'read' : writes ? 'write' : undefined;
}

/** A file that replaces `file` when it is complete. */
function replacement(file: string) {
  const descriptor = openSync(`${file}.new`, 'w', 0o640);
  return {
    write: (text: string) => void writeSync(descriptor, text),
    finish: () => {
      closeSync(descriptor);
      renameSync(`${file}.new`, file);
    },
  };
}

const USAGE = 'npm run mosquitto-files -- DIR [BROKER_ID]';

async function mosquittoFiles([dir, brokerId]: string[]): Promise<void> {
  if (!dir || (brokerId !== undefined && !/^\d+$/.test(brokerId)))
    throw new UserError(`Usage: DATABASE_URL=… ${USAGE}`);
  const { users, leftOut } = await withDatabase(databaseUrl(USAGE), (url) =>
    writeMosquittoFiles({ databaseUrl: url, dir, ...(brokerId ? { brokerId: Number(brokerId) } : {}) }),
  );
  console.log(`${users} users written to ${dir}.`);
  for (const username of leftOut) console.error(`left out: ${JSON.stringify(username)}`);
}

if (import.meta.main) await runProgram(() => mosquittoFiles(process.argv.slice(2)), 2);
