import pg from 'pg';

/**
 * How long a statement may run after its client has given up. Set on the role: as startup parameters, they would make RDS
 * Proxy pin the connection.
 */
const LIMITS = {
  // A second longer than the deadline of a request and of a batch of bulk-assign.
  statement_timeout: '6s',
  // Short enough to repeat the statement within the deadline.
  lock_timeout: '2s',
  // How often Postgres checks during a statement that its client is still connected.
  client_connection_check_interval: '1s',
};

/**
 * Creates the role that the functions log in as, and grants it what they need: the rows of all tables, also of later
 * tables, but not their structure. It may add events, but not change them, and delete only old ones with berth_purge_events. Its
 * statements get {@link LIMITS}.
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
    grant execute on function berth_purge_events to ${role};
    revoke insert, update, delete on berth_migrations from ${role};
    alter default privileges in schema public grant select, insert, update, delete on tables to ${role};
    alter default privileges in schema public grant usage, select on sequences to ${role};
  `);
  if (!isThere(user)) log(`created role ${user}`);
  await limitStatements(client, role, log);
  await grantSessionsView(client, role, log);
}

/** In this database only: the role may also be used in others. */
async function limitStatements(client: pg.Client, role: string, log: (line: string) => void): Promise<void> {
  const { rows } = await client.query<{ name: string }>('select current_database() as name');
  const database = pg.escapeIdentifier(rows[0]?.name ?? '');
  const limits = Object.entries(LIMITS).map(
    ([name, value]) => `alter role ${role} in database ${database} set ${name} = '${value}';`,
  );
  await unlessForbidden(client, limits.join(' '), () =>
    log(`may not limit the statements of ${role}: set ${Object.keys(LIMITS).join(', ')} on it (docs/deploy.md)`),
  );
}

const INSUFFICIENT_PRIVILEGE = '42501';

/** Bulk-assign slows down for other sessions and for lagging replicas. It needs this right to see them. */
function grantSessionsView(client: pg.Client, role: string, log: (line: string) => void): Promise<void> {
  return unlessForbidden(client, `grant pg_read_all_stats to ${role}`, () =>
    log(`may not grant pg_read_all_stats to ${role}: bulk-assign will pause as if other sessions were always active`),
  );
}

async function unlessForbidden(client: pg.Client, sql: string, onForbidden: () => void): Promise<void> {
  try {
    await client.query(sql);
  } catch (error) {
    if ((error as { code?: unknown }).code !== INSUFFICIENT_PRIVILEGE) throw error;
    onForbidden();
  }
}
