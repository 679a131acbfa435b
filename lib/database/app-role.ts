import pg from 'pg';

/**
 * Creates the role that the functions log in as, and grants it what they need: the rows of all tables, also of later
 * tables, but not their structure. It may add events, but not change or delete them.
 *
 * @param client logged in as the role that owns the tables
 * @param log receives a line when the role is created
 */
export async function grantToApp(client: pg.Client, user: string, log: (line: string) => void): Promise<void> {
  const role = pg.escapeIdentifier(user);
  const { rows } = await client.query<{ rolname: string }>('select rolname from pg_roles where rolname = any($1)', [
    [user, 'rds_iam'],
  ]);
  const isThere = (name: string) => rows.some(({ rolname }) => rolname === name);
  // One message is one transaction.
  await client.query(`
    ${isThere(user) ? '' : `create role ${role} login;`}
    ${isThere('rds_iam') ? `grant rds_iam to ${role};` : ''}
    grant usage on schema public to ${role};
    grant select, insert, update, delete on all tables in schema public to ${role};
    grant usage, select on all sequences in schema public to ${role};
    revoke update, delete on device_events from ${role};
    revoke insert, update, delete on berth_migrations from ${role};
    alter default privileges in schema public grant select, insert, update, delete on tables to ${role};
    alter default privileges in schema public grant usage, select on sequences to ${role};
  `);
  if (!isThere(user)) log(`created role ${user}`);
  await grantSessionsView(client, role, log);
}

const INSUFFICIENT_PRIVILEGE = '42501';

/** Bulk-assign slows down for other sessions and for lagging replicas. It needs this right to see them. */
async function grantSessionsView(client: pg.Client, role: string, log: (line: string) => void): Promise<void> {
  try {
    await client.query(`grant pg_read_all_stats to ${role}`);
  } catch (error) {
    if ((error as { code?: unknown }).code !== INSUFFICIENT_PRIVILEGE) throw error;
    log(`may not grant pg_read_all_stats to ${role}: bulk-assign will pause as if other sessions were always active`);
  }
}
