import postgres from 'postgres';
import type { Acl } from '../lib/mqtt-auth/acl.ts';

/** An MQTT user that may connect, as an embedded broker sees it. */
export type BrokerUser = {
  username: string;
  password_hash: string;
  is_superuser: boolean;
  /** The broker that its device belongs to; null: the user belongs to no device, or no broker resolves. */
  broker_id: number | null;
  /** The MQTT client ids that it may use. */
  client_ids: string[];
  acls: Acl[];
};

/** Looks up users by name. Unknown and inactive ones are missing from the result. */
export type FindUsers = (usernames: string[]) => Promise<Map<string, BrokerUser>>;

/** @param databaseUrl postgres://… of a database with Berth's tables */
export function connectMqttUsers(databaseUrl: string): { find: FindUsers; close(): Promise<void> } {
  const sql = postgres(databaseUrl, { max: 4, connect_timeout: 3, onnotice: () => {} });
  const find: FindUsers = async (usernames) => {
    const users = await sql<BrokerUser[]>`
      select u.username, u.password_hash, u.is_superuser, u.broker_id, u.client_ids,
             (select coalesce(json_agg(json_build_object('topic', topic, 'access', access)), '[]')
              from mqtt_acls where username = u.username) as acls
      from mqtt_broker_users u
      where u.username = any(${usernames})`;
    return new Map(users.map((user) => [user.username, user]));
  };
  return { find, close: () => sql.end({ timeout: 1 }) };
}
