import type pg from 'pg';
import { grantRights } from './login-role.ts';

/**
 * Creates the role that `mqtt-auth` logs in as, and gives it exactly the rights of {@link rightsOf}. Brokers and whoever has
 * their secret reach this function, so it may change only a device's former brokers, and may not read keys, salts or brokers'
 * passwords.
 *
 * @param client logged in as the role that owns the tables
 * @param log receives a line when the role is created
 */
export function grantToMqttAuth(client: pg.Client, user: string, log: (line: string) => void): Promise<void> {
  return grantRights(client, user, rightsOf, log);
}

/** What lib/mqtt-auth reads and changes. docs/deploy.md has the same statements for an existing database. */
function rightsOf(role: string): string {
  return `
    revoke all on all tables in schema public from ${role};
    revoke all on all sequences in schema public from ${role};
    grant usage on schema public to ${role};
    grant select on mqtt_broker_users, mqtt_device_users to ${role};
    grant select (username, topic, access) on mqtt_acls to ${role};
    -- berth_resolve, inlined into mqtt_broker_users, reads these with the rights of the role.
    grant select (id, default_broker_id) on provisioning_keys to ${role};
    grant select (id, is_default, refusal) on mqtt_broker_config to ${role};
    -- berth_end_former: a login at the new broker ends the permission at the former one.
    grant execute on function berth_end_former to ${role};
    grant select (id, uuid, handed_broker_id, former_broker_ids), update (former_broker_ids, former_until) on devices to ${role};
  `;
}
