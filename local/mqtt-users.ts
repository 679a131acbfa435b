import pg from 'pg';
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

// By devices.uuid, which has an index; a device's username is always device_<uuid>.
const FIND_USERS = `
  select u.username, u.password_hash, coalesce(u.is_superuser, false) as is_superuser,
         case when d.id is not null then (
           select b.id from mqtt_broker_config b
           where b.is_active and (b.id = d.mqtt_broker_id or b.is_default)
           order by (b.id = d.mqtt_broker_id) desc nulls last
           limit 1
         ) end as broker_id,
         coalesce((
           select json_agg(json_build_object('topic', a.topic, 'access', a.access))
           from mqtt_acls a where a.username = u.username
         ), '[]') as acls
  from mqtt_users u
  left join devices d on u.username like 'device\\_%' and d.uuid = berth_uuid(substr(u.username, 8))
  where u.username = any($1) and coalesce(u.is_active, true)`;

/**
 * Opens a small pool for a broker's queries.
 * @param databaseUrl postgres://… of a database with Berth's tables
 */
export function connectMqttUsers(databaseUrl: string): { find: FindUsers; close(): Promise<void> } {
  const pool = new pg.Pool({
    connectionString: databaseUrl,
    max: 4,
    connectionTimeoutMillis: 3_000,
    query_timeout: 5_000,
    allowExitOnIdle: true,
  });
  // An idle connection that breaks is replaced at the next query.
  pool.on('error', () => {});
  return {
    find: async (usernames) => {
      const { rows } = await pool.query<MqttUser>(FIND_USERS, [usernames]);
      return new Map(rows.map((user) => [user.username, user]));
    },
    close: () => pool.end(),
  };
}
