import pg from 'pg';
import { grantRights, unlessForbidden } from './login-role.ts';

/**
 * Creates the role that the functions log in as, and grants it what they need: the rows of all tables, also of later
 * tables, but not their structure. It may add events, but not change them, and delete only old ones with berth_purge_events and
 * berth_purge_operator_events.
 *
 * @param client logged in as the role that owns the tables
 * @param log receives a line when the role is created
 */
export async function grantToApp(client: pg.Client, user: string, log: (line: string) => void): Promise<void> {
  await grantRights(client, user, rightsOf, log);
  await grantSessionsView(client, pg.escapeIdentifier(user), log);
}

function rightsOf(role: string): string {
  return `
    grant usage on schema public to ${role};
    grant select, insert, update, delete on all tables in schema public to ${role};
    grant usage, select on all sequences in schema public to ${role};
    revoke update, delete on device_events, operator_events from ${role};
    grant execute on function berth_purge_events, berth_purge_operator_events to ${role};
    revoke insert, update, delete on berth_migrations from ${role};
    alter default privileges in schema public grant select, insert, update, delete on tables to ${role};
    alter default privileges in schema public grant usage, select on sequences to ${role};
  `;
}

/** Bulk-assign slows down for other sessions and for lagging replicas. It needs this right to see them. */
function grantSessionsView(client: pg.Client, role: string, log: (line: string) => void): Promise<void> {
  return unlessForbidden(client, `grant pg_read_all_stats to ${role}`, () =>
    log(`may not grant pg_read_all_stats to ${role}: bulk-assign will pause as if other sessions were always active`),
  );
}
