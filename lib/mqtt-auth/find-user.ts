import type { Context } from '../context.ts';
import { type Fragment, query, type Sql } from '../database/db.ts';
import { withBrokerLookup } from '../resolution/resolve.ts';
import type { Acl } from './acl.ts';

/** An active MQTT user with its ACLs, at a broker that accepts it. */
export type MqttUser = {
  username: string;
  password_hash: string;
  is_superuser: boolean;
  acls: Acl[];
  device_uuid: string | null;
  /** Null: the user belongs to no device, or no broker of the table resolves. Then every broker accepts it. */
  broker_id: number | null;
  /** A login here ends what its device may do at former brokers. */
  ends_former: boolean;
  /** The MQTT client ids that it may use (`berth_client_ids`). */
  client_ids: string[];
};

export type Found = { user: MqttUser } | { refusal: string };

/**
 * The user behind an MQTT username, if it may connect to the broker that asks.
 *
 * @param brokerId undefined: the broker does not say which one it is. Then the user may connect if any broker accepts it
 * @returns `refusal` is the reason
 */
export async function findMqttUser(
  ctx: Context,
  username: string | undefined,
  brokerId: number | undefined,
): Promise<Found> {
  if (!username) return { refusal: 'no username' };
  const rows = await withBrokerLookup((lookup) => findUser(ctx, username, lookup));
  const [resolved] = rows;
  if (!resolved) return { refusal: 'unknown or inactive user' };
  if (brokerId === undefined)
    return { user: { ...resolved, client_ids: rows.flatMap(({ client_ids }) => client_ids) } };
  const user = rows.find(({ broker_id }) => broker_id === brokerId) ?? rows.find(({ broker_id }) => broker_id === null);
  return user ? { user } : { refusal: `its broker is number ${resolved.broker_id}` };
}

/** A row for each broker that accepts the user. The first one is of the broker that its device belongs to. */
function findUser(ctx: Context, username: string, lookup: boolean): Promise<MqttUser[]> {
  return query<MqttUser>(
    ctx,
    (sql) => sql`
      select u.username, u.password_hash, u.is_superuser, u.device_uuid, u.broker_id, u.ends_former,
             to_json(u.client_ids) as client_ids,
             (select coalesce(json_agg(json_build_object('topic', topic, 'access', access)), '[]')
              from mqtt_acls where username = u.username) as acls
      from ${lookup ? sql`mqtt_broker_users` : withoutBroker(sql)} u
      where u.username = ${username}
      order by u.reason <> 'resolved'`,
  );
}

function withoutBroker(sql: Sql): Fragment {
  return sql`(
    select *, null::integer as broker_id, berth_client_ids(username, device_uuid, null) as client_ids,
           'resolved' as reason, false as ends_former
    from mqtt_device_users)`;
}
