import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { handler } from '../../functions/migrate.ts';
import { reloadSettings } from '../../lib/settings/settings.ts';
import { lambdaContext } from '../support/api.ts';
import { newDevice, PEPPER, register, unknownKey } from '../support/berth.ts';
import { type Authority, createAuthority, type Pair } from '../support/certificates.ts';
import { type Instance, startInstances } from '../support/instances.ts';
import { type OwnPostgres, startOwnPostgres } from '../support/own-postgres.ts';

/** Both resolve to this machine, but are not names for which Berth skips TLS. The certificate is for the first one. */
const HOST = 'LOCALHOST';
const OTHER_HOST = '127.1';
/** A superuser that the server accepts over TLS only. */
const TLS_ONLY = 'tls_only';

let postgres: OwnPostgres;
let authority: Authority;
beforeAll(async () => {
  postgres = await startOwnPostgres();
  authority = await createAuthority('Berth test CA');
  await serveWith(await authority.issue({ commonName: 'database', hosts: ['localhost'] }));
});
afterAll(() => postgres.remove());

it('a remote database is reached over TLS with a verified certificate', async () => {
  expect(await requestWith(HOST, authority.cert)).toEqual({ status: 401, tls: true });
});

it.each([
  ['from an unknown CA', HOST, async () => (await createAuthority('another')).cert],
  ['for another host', OTHER_HOST, async () => authority.cert],
])('5xx: the database’s certificate is %s', async (_, host, ca) => {
  const { status, tls } = await requestWith(host, await ca());
  expect(status).toBeGreaterThanOrEqual(500);
  expect(tls, 'no connection').toBeNull();
});

describe('migrations during a deployment', () => {
  const migrate = (host: string, ca: string) => {
    const url = Object.assign(new URL(postgres.url), { hostname: host, username: TLS_ONLY, password: TLS_ONLY });
    Object.assign(process.env, { DATABASE_URL: url.href, DATABASE_CA: ca });
    reloadSettings();
    return handler({}, lambdaContext(25_000));
  };
  afterEach(() => {
    for (const name of ['DATABASE_URL', 'DATABASE_CA']) delete process.env[name];
  });

  it('are applied over TLS', async () => {
    await postgres.sql(`drop table berth_migrations`);
    expect(await migrate(HOST, authority.cert)).toMatchObject({ applied: expect.arrayContaining(['0002_berth']) });
  });

  it('fail when the certificate is for another host or from an unknown CA', async () => {
    await expect(migrate(OTHER_HOST, authority.cert)).rejects.toThrow('does not match certificate');
    await expect(migrate(HOST, (await createAuthority('another')).cert)).rejects.toThrow('certificate');
  });
});

/**
 * Sends a registration with an unknown key to an instance that uses this host and CA.
 *
 * @returns its status (401 if the database was reached), and whether the instance's connection uses TLS (null: it has none)
 */
async function requestWith(host: string, ca: string): Promise<{ status: number; tls: boolean | null }> {
  const url = Object.assign(new URL(postgres.url), { hostname: host });
  const env = { DATABASE_URL: url.href, DATABASE_CA: ca, BERTH_PEPPER: PEPPER };
  const [instance] = (await startInstances(1, env)) as [Instance];
  try {
    const { status } = await register(unknownKey(), newDevice(), {}, instance.call);
    const [seen] = await postgres.sql(
      `select bool_and(ssl) as tls from pg_stat_ssl join pg_stat_activity using (pid) where application_name = 'berth'`,
    );
    return { status, tls: seen?.tls };
  } finally {
    await instance.stop();
  }
}

async function serveWith({ cert, key }: Pair): Promise<void> {
  await postgres.writeFile('server.crt', cert);
  await postgres.writeFile('server.key', key);
  await postgres.sql(`create role ${TLS_ONLY} superuser login password '${TLS_ONLY}'`);
  await postgres.writeFile(
    'pg_hba.conf',
    `hostnossl all ${TLS_ONLY} all reject\nhost all all 127.0.0.1/32 scram-sha-256`,
  );
  await postgres.sql('alter system set ssl = on');
  await postgres.sql('select pg_reload_conf()');
}
