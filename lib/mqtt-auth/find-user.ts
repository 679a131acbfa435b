import type { Context } from '../context.ts';
import { type Fragment, query, type Sql } from '../database/db.ts';
import { withBrokerLookup } from '../resolution/resolve.ts';
import type { Acl } from './acl.ts';

/** An active MQTT user with its ACLs, the device that it belongs to, and the broker that this device belongs to. */
export type MqttUser = {
  username: string;
  password_hash: string;
  is_superuser: boolean;
  acls: Acl[];
  /** Null: the user belongs to no device, or no broker of the table resolves. */
  broker_id: number | null;
  /** The MQTT client ids that it may use (`berth_client_ids`). */
  client_ids: string[];
};

export type Found = { user: MqttUser } | { refusal: string };

/**
 * The user behind an MQTT username, if it may connect to the broker that asks.
 *
 * @param brokerId a device that belongs to another broker is refused; one for which no broker resolves is not
 * @returns `refusal` is the reason
 */
export async function findMqttUser(
  ctx: Context,
  username: string | undefined,
  brokerId: number | undefined,
): Promise<Found> {
  if (!username) return { refusal: 'no username' };
  const user = await withBrokerLookup((lookup) => findUser(ctx, username, lookup));
  if (!user) return { refusal: 'unknown or inactive user' };
  const belongsElsewhere = user.broker_id !== null && user.broker_id !== brokerId;
  if (brokerId !== undefined && belongsElsewhere) return { refusal: `its broker is number ${user.broker_id}` };
  return { user };
}

async function findUser(ctx: Context, username: string, lookup: boolean): Promise<MqttUser | undefined> {
  const [user] = await query<MqttUser>(
    ctx,
    (sql) => sql`
      select u.username, u.password_hash, u.is_superuser, u.broker_id, to_json(u.client_ids) as client_ids,
             (select coalesce(json_agg(json_build_object('topic', topic, 'access', access)), '[]')
              from mqtt_acls where username = u.username) as acls
      from ${lookup ? sql`mqtt_broker_users` : withoutBroker(sql)} u
      where u.username = ${username}`,
  );
  return user;
}

function withoutBroker(sql: Sql): Fragment {
  return sql`(
    select *, null::integer as broker_id, berth_client_ids(username, device_uuid, null) as client_ids
    from mqtt_device_users)`;
}
