import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { handler } from '../../functions/migrate.ts';
import { reloadSettings } from '../../lib/settings/settings.ts';
import { PEPPER } from '../support/berth.ts';
import { type Authority, createAuthority, type Pair } from '../support/certificates.ts';
import { type Instance, startInstances } from '../support/instances.ts';
import { type OwnPostgres, startOwnPostgres } from '../support/own-postgres.ts';

/** They lead to this machine, but are not the spellings that Berth speaks to without TLS. */
const NAMED = 'LOCALHOST';
const NAMED_OTHERWISE = '127.1';

let postgres: OwnPostgres;
let authority: Authority;
beforeAll(async () => {
  postgres = await startOwnPostgres();
  authority = await createAuthority('Berth test CA');
  await serveWith(await authority.issue({ commonName: 'database', hosts: ['localhost'] }));
});
afterAll(() => postgres.remove());

it('a database elsewhere is spoken to over TLS, its certificate verified', async () => {
  expect(await statusWith(NAMED, authority.cert)).toBe(401);
  const [seen] = await postgres.sql(
    `select bool_and(ssl) as tls from pg_stat_ssl join pg_stat_activity using (pid) where application_name = 'berth'`,
  );
  expect(seen).toEqual({ tls: true });
  await end();
});

it.each([
  ['by a CA that is not known', NAMED, async () => (await createAuthority('another')).cert],
  ['for another host', NAMED_OTHERWISE, async () => authority.cert],
])('a certificate %s is refused', async (_, host, ca) => {
  expect(await statusWith(host, await ca())).toBeGreaterThanOrEqual(500);
  await end();
});

describe('migrations at a deployment', () => {
  const migrate = (host: string, ca: string) => {
    const url = Object.assign(new URL(postgres.url), { hostname: host });
    Object.assign(process.env, { DATABASE_URL: url.href, DATABASE_CA: ca });
    reloadSettings();
    return handler({}, { getRemainingTimeInMillis: () => 25_000 } as never);
  };
  afterEach(() => {
    for (const name of ['DATABASE_URL', 'DATABASE_CA']) delete process.env[name];
  });

  it('are applied over TLS', async () => {
    await postgres.sql(`drop table berth_migrations`);
    expect(await migrate(NAMED, authority.cert)).toMatchObject({ applied: expect.arrayContaining(['0002_berth']) });
  });

  it('are not, where the certificate isn’t right', async () => {
    await expect(migrate(NAMED_OTHERWISE, authority.cert)).rejects.toThrow('does not match certificate');
    await expect(migrate(NAMED, (await createAuthority('another')).cert)).rejects.toThrow('certificate');
  });
});

let instance: Instance | undefined;
/** What a request without a right key gets, for which the database must have been asked. */
async function statusWith(host: string, ca: string): Promise<number> {
  const url = new URL(postgres.url);
  url.hostname = host;
  [instance] = await startInstances(1, { DATABASE_URL: url.href, DATABASE_CA: ca, BERTH_PEPPER: PEPPER });
  const { status } = await (instance as Instance).call('POST /api/v1/device/register', {
    headers: { authorization: `Bearer prov_${crypto.randomUUID()}_${'a'.repeat(43)}` },
    body: { uuid: 'a', deviceName: 'a', deviceType: 'a', deviceApiKey: 'a' },
  });
  return status;
}

async function end(): Promise<void> {
  await instance?.stop();
}

/** Has the server write the files itself, so that they are its own whoever it runs as. */
async function serveWith({ cert, key }: Pair): Promise<void> {
  for (const [file, pem] of [['server.crt', cert] as const, ['server.key', key] as const]) {
    await postgres.sql(
      `copy (select regexp_split_to_table('${pem.trim()}', '\\n')) to program 'umask 077; cat > ${file}'`,
    );
  }
  await postgres.sql('alter system set ssl = on');
  await postgres.sql('select pg_reload_conf()');
}
