import { runProgram, UserError } from '../tools/user-error.ts';
import { withClient } from './database.ts';
import { readLocalFile } from './state.ts';

const MAX = 10_000_000;
const FLEETS = 4;

/**
 * `npm run seed -- 10000` adds devices to the local stack's database, to try bulk-assign with. They belong to the fleets
 * seed-1 to seed-4. A third is assigned to each of two brokers, a third to none. They have no keys and cannot connect.
 */
async function seed(text: string | undefined): Promise<void> {
  const count = Number(text);
  if (!/^\d+$/.test(text ?? '') || count < 1 || count > MAX) {
    throw new UserError(`Pass the number of devices, from 1 to ${MAX}: \`npm run seed -- 10000\`.`);
  }
  const { databaseUrl, brokers } = readLocalFile();
  const [first, second] = brokers.map(({ id }) => id);
  await withClient(databaseUrl, async (client) => {
    await client.query(INSERT, [count, FLEETS, first ?? null, second ?? first ?? null]);
    await client.query('analyze devices');
  });
  console.log(`Added ${count} devices in the fleets seed-1 to seed-${FLEETS}.`);
}

const INSERT = `
  insert into devices (uuid, device_name, device_type, fleet_id, provisioned_at, mqtt_broker_id)
  select berth_uuid(gen_random_uuid()::text), 'Seeded ' || n, (array['sensor', 'gateway'])[1 + n % 2],
         'seed-' || 1 + n % $2::integer, now() at time zone 'utc', (array[$3::integer, $4::integer, null])[1 + n % 3]
  from generate_series(1, $1::integer) n`;

await runProgram(() => seed(process.argv[2]));
