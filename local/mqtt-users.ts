import postgres from 'postgres';
import type { Acl } from '../lib/mqtt-auth/acl.ts';

/** An MQTT user that may connect, as an embedded broker sees it. */
export type BrokerUser = {
  username: string;
  password_hash: string;
  is_superuser: boolean;
  device_uuid: string | null;
  /** The broker that its device belongs to; null: the user belongs to no device, or no broker resolves. */
  resolved_broker_id: number | null;
  /** Whether this broker accepts it. */
  is_accepted: boolean;
  /** A login here ends what its device may do at former brokers. */
  ends_former: boolean;
  /** The MQTT client ids that it may use. */
  client_ids: string[];
  acls: Acl[];
};

/** Looks up users by name. Unknown and inactive ones are missing from the result. */
export type FindUsers = (usernames: string[]) => Promise<Map<string, BrokerUser>>;

export type MqttUsers = { find: FindUsers; endFormer(user: BrokerUser): Promise<void>; close(): Promise<void> };

/**
 * @param databaseUrl postgres://… of a database with Berth's tables
 * @param brokerId of the broker that asks
 */
export function connectMqttUsers(databaseUrl: string, brokerId: number): MqttUsers {
  const sql = postgres(databaseUrl, { max: 4, connect_timeout: 3, onnotice: () => {} });
  const find: FindUsers = async (usernames) => {
    const users = await sql<BrokerUser[]>`
      select distinct on (u.username) u.username, u.password_hash, u.is_superuser, u.device_uuid, u.client_ids,
             coalesce(u.broker_id = ${brokerId}, true) as is_accepted, u.ends_former,
             max(u.broker_id) filter (where u.reason = 'resolved') over (partition by u.username) as resolved_broker_id,
             (select coalesce(json_agg(json_build_object('topic', topic, 'access', access)), '[]')
              from mqtt_acls where username = u.username) as acls
      from mqtt_broker_users u
      where u.username = any(${usernames})
      order by u.username, u.broker_id = ${brokerId} desc nulls last, u.broker_id is not null`;
    return new Map(users.map((user) => [user.username, user]));
  };
  // Once per move. A failure is made good by the next login, and by the end of the grace period.
  const endFormer = async ({ device_uuid, ends_former }: BrokerUser) => {
    if (ends_former) await sql`select berth_end_former(${device_uuid}, ${brokerId})`.catch(() => {});
  };
  return { find, endFormer, close: () => sql.end({ timeout: 1 }) };
}
