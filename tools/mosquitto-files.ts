import { closeSync, openSync, renameSync, writeSync } from 'node:fs';
import path from 'node:path';
// Not lib/database/db.ts: that takes the functions' settings, and a broker's host has no business with the pepper.
import postgres from 'postgres';
import { ACCESS, type Acl } from '../lib/mqtt-auth/acl.ts';

export type MosquittoFiles = {
  databaseUrl: string;
  /** Where `passwords` and `acls` are written. */
  dir: string;
  /** The broker that they are for: devices that resolve to another are left out. Undefined: all are in. */
  brokerId?: number;
};

type User = { username: string; password_hash: string; is_superuser: boolean; acls: Acl[] };

/** Rows fetched at a time: a million devices need not fit into memory. */
const PAGE = 5_000;

/**
 * Writes `passwords` and `acls`, the password_file and acl_file of a Mosquitto, from mqtt_users and
 * mqtt_acls. Each is put in the other's place whole, so that Mosquitto never reads half of one.
 *
 * @returns how many users are in, and the usernames that are not because the files cannot hold them
 */
export async function writeMosquittoFiles({ databaseUrl, dir, brokerId }: MosquittoFiles) {
  const sql = postgres(databaseUrl, { max: 1, fetch_types: false, onnotice: () => {} });
  const passwords = replacement(path.join(dir, 'passwords'));
  const acls = replacement(path.join(dir, 'acls'));
  const leftOut: string[] = [];
  let users = 0;
  try {
    for await (const page of selectUsers(sql, brokerId).cursor(PAGE)) {
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

function selectUsers(sql: postgres.Sql, brokerId: number | undefined) {
  return sql<User[]>`
    select u.username, u.password_hash, u.is_superuser,
           (select coalesce(json_agg(json_build_object('topic', topic, 'access', access) order by id), '[]')
            from mqtt_acls where username = u.username) as acls
    from mqtt_broker_users u
    where coalesce(u.broker_id = ${brokerId ?? null}, true)
    order by u.username`;
}

/** `$7$iterations$salt$key` of a hash as Berth makes it; undefined: Mosquitto reads no such hash (bcrypt). */
function mosquittoHash(hash: string): string | undefined {
  const [, rest, salt = ''] = /^PBKDF2\$sha512\$(\d+\$([^$]+)\$[^$]+)$/.exec(hash) ?? [];
  return Buffer.from(salt, 'base64').length === 12 ? `$7$${rest}` : undefined;
}

/** A name that is one line, and the same after Mosquitto has cut off blanks and what follows a colon. */
function isWritable(name: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not get in
  return name === name.trim() && !/^#|[:\u0000-\u001f]/.test(name);
}

function aclLines({ username, is_superuser, acls }: User): string {
  const granted = is_superuser ? [{ topic: '#', access: 7 }] : acls;
  const lines = granted.flatMap(({ topic, access }) => {
    const word = accessWord(access);
    return word && isWritable(topic.replaceAll(':', '').replace(/^#/, '')) ? [`topic ${word} ${topic}\n`] : [];
  });
  return `user ${username}\n${lines.join('')}\n`;
}

/** Mosquitto's files know no leave to subscribe: it is part of `read`, so that wants both bits. */
function accessWord(access: number): string | undefined {
  const receives = ACCESS.read | ACCESS.subscribe;
  const reads = (access & receives) === receives;
  const writes = (access & ACCESS.write) !== 0;
  if (reads && writes) return 'readwrite';
  return reads ? 'read' : writes ? 'write' : undefined;
}

/** A file that takes the place of another once it is complete. */
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

if (import.meta.main) {
  const [dir, brokerId] = process.argv.slice(2);
  const databaseUrl = process.env.DATABASE_URL;
  if (!databaseUrl || !dir || (brokerId !== undefined && !/^\d+$/.test(brokerId))) {
    console.error('DATABASE_URL=postgres://user:password@host:5432/berth npm run mosquitto-files -- DIR [BROKER_ID]');
    process.exit(2);
  }
  const options = { databaseUrl, dir, ...(brokerId ? { brokerId: Number(brokerId) } : {}) };
  const { users, leftOut } = await writeMosquittoFiles(options);
  console.log(`${users} users written to ${dir}.`);
  for (const username of leftOut) console.error(`left out: ${JSON.stringify(username)}`);
}
