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
 * Creates a role that functions log in as, if it does not exist, and changes its rights. Its statements get {@link LIMITS}.
 *
 * @param client logged in as the role that owns the tables
 * @param rights the statements that change the rights of `role`, a quoted name. All of them take effect, or none
 * @param log receives a line when the role is created
 */
export async function grantRights(
  client: pg.Client,
  user: string,
  rights: (role: string) => string,
  log: (line: string) => void,
): Promise<void> {
  const role = pg.escapeIdentifier(user);
  const { rows } = await client.query<{ rolname: string }>('select rolname from pg_roles where rolname = any($1)', [
    [user, 'rds_iam'],
  ]);
  const isThere = (name: string) => rows.some(({ rolname }) => rolname === name);
  // One message is one transaction.
  await client.query(`
    ${isThere(user) ? '' : `create role ${role} login;`}
    ${isThere('rds_iam') ? `grant rds_iam to ${role};` : ''}
    ${rights(role)}`);
  if (!isThere(user)) log(`created role ${user}`);
  await limitStatements(client, role, log);
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

/** Runs a statement. Calls `onForbidden` if this login may not. */
export async function unlessForbidden(client: pg.Client, sql: string, onForbidden: () => void): Promise<void> {
  try {
    await client.query(sql);
  } catch (error) {
    if ((error as { code?: unknown }).code !== INSUFFICIENT_PRIVILEGE) throw error;
    onForbidden();
  }
}
