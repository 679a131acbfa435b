import pg from 'pg';
import { describeError, UserError } from '../tools/user-error.ts';
import { readLocalFile } from './read-local-file.ts';

const MAX = 10_000_000;
const FLEETS = 4;

/**
 * `npm run seed -- 10000`: adds so many devices to the local stack's database, to try bulk-assign on. They
 * are of the fleets seed-1 to seed-4, a third assigned to each of two brokers and a third to none. They have
 * no keys, so they can't connect.
 */
async function seed(text: string | undefined): Promise<void> {
  const count = Number(text);
  if (!/^\d+$/.test(text ?? '') || count < 1 || count > MAX) {
    throw new UserError(`Say how many devices, 1 to ${MAX}: \`npm run seed -- 10000\`.`);
  }
  const { databaseUrl, brokers } = readLocalFile();
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    const [first, second] = brokers.map(({ id }) => id);
    await client.query(INSERT, [count, FLEETS, first ?? null, second ?? first ?? null]);
    await client.query('analyze devices');
  } finally {
    await client.end();
  }
  console.log(`Added ${count} devices in the fleets seed-1 to seed-${FLEETS}.`);
}

const INSERT = `
  insert into devices (uuid, device_name, device_type, fleet_id, provisioned_at, mqtt_broker_id)
  select berth_uuid(gen_random_uuid()::text), 'Seeded ' || n, (array['sensor', 'gateway'])[1 + n % 2],
         'seed-' || 1 + n % $2::integer, now() at time zone 'utc', (array[$3::integer, $4::integer, null])[1 + n % 3]
  from generate_series(1, $1::integer) n`;

try {
  await seed(process.argv[2]);
} catch (error) {
  console.error(describeError(error));
  process.exit(1);
}
