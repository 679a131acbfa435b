import postgres from 'postgres';
import type { Acl } from '../lib/mqtt-auth/acl.ts';

/** A row of `mqtt_users` with what a broker needs to know about it. */
export type MqttUser = {
  username: string;
  password_hash: string;
  is_superuser: boolean;
  /** The broker that its device resolves to now; null: it is no device, or no broker of the table resolves. */
  broker_id: number | null;
  acls: Acl[];
};

/** Looks up active users by name; a name that is unknown or inactive is missing from the result. */
export type FindUsers = (usernames: string[]) => Promise<Map<string, MqttUser>>;

/**
 * Opens a small pool for a broker's queries.
 * @param databaseUrl postgres://… of a database with Berth's tables
 */
export function connectMqttUsers(databaseUrl: string): { find: FindUsers; close(): Promise<void> } {
  const sql = postgres(databaseUrl, { max: 4, connect_timeout: 3, onnotice: () => {} });
  return {
    find: async (usernames) => new Map((await findUsers(sql, usernames)).map((user) => [user.username, user])),
    close: () => sql.end({ timeout: 1 }),
  };
}

function findUsers(sql: postgres.Sql, usernames: string[]) {
  return sql<MqttUser[]>`
    select u.username, u.password_hash, u.is_superuser, u.broker_id,
           coalesce((
             select json_agg(json_build_object('topic', a.topic, 'access', a.access))
             from mqtt_acls a where a.username = u.username
           ), '[]') as acls
    from mqtt_broker_users u
    where u.username = any(${usernames})`;
}
