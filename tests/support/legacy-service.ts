import { randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import { compare, hash } from 'bcryptjs';
import pg from 'pg';

export type LegacyService = { url: string; stop: () => Promise<void> };
// biome-ignore lint/suspicious/noExplicitAny: rows are what the columns say
type Sql = (text: string, values?: unknown[]) => Promise<Record<string, any>[]>;
type Asked = { uuid: string; credential: string; body: Record<string, string> };
type Answer = { status: number; body: object };

/**
 * A stand-in for the legacy service, made from recordings: its routes for devices, its columns, several statements without
 * a transaction, bcrypt for every secret. It uses nothing that our migrations add.
 *
 * @param options PGOPTIONS of its process
 */
export async function startLegacyService(databaseUrl: string, options = ''): Promise<LegacyService> {
  const pool = new pg.Pool({ connectionString: databaseUrl, options, max: 4 });
  pool.on('error', () => {});
  const sql: Sql = async (text, values) => (await pool.query(text, values)).rows;
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const body = JSON.parse(Buffer.concat(chunks).toString('utf8') || '{}');
    const credential = (request.headers.authorization ?? '').replace(/^Bearer /, '');
    const [route, uuid] = routeOf(`${request.method} ${request.url}`);
    const answer = await route(sql, { uuid, credential, body }).catch(
      (error): Answer => ({ status: 500, body: { error: String(error.message) } }),
    );
    response.writeHead(answer.status, { 'content-type': 'application/json' }).end(JSON.stringify(answer.body));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()));
  return {
    url: `http://127.0.0.1:${(server.address() as { port: number }).port}/api/v1`,
    stop: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await pool.end();
    },
  };
}

type Route = (sql: Sql, asked: Asked) => Promise<Answer>;

/** The route, and the uuid of its path as it was sent. */
function routeOf(target: string): [Route, string] {
  const routes: [RegExp, Route][] = [
    [/^POST \S+\/device\/register$/, register],
    [/^POST \S+\/device\/([^/]+)\/key-exchange$/, exchange],
    [/^POST \S+\/device\/([^/]+)\/rotate-key$/, rotateKey],
    [/^GET \S+\/devices\/([^/]+)$/, show],
    [/^DELETE \S+\/devices\/([^/]+)$/, remove],
  ];
  for (const [pattern, route] of routes) {
    const match = pattern.exec(target);
    if (match) return [route, decodeURIComponent(match[1] ?? '')];
  }
  return [async () => ({ status: 404, body: { error: 'Not found' } }), ''];
}

async function register(sql: Sql, { credential, body }: Asked): Promise<Answer> {
  const key = await findKey(sql, credential);
  if (!key) return { status: 401, body: { error: 'Invalid provisioning key' } };
  if (key.devices_provisioned >= key.max_devices) return { status: 401, body: { error: 'Invalid provisioning key' } };
  const [existing] = await sql('select id from devices where uuid = $1', [body.uuid]);
  if (existing) return { status: 409, body: { error: 'Device registration failed' } };
  const password = randomBytes(16).toString('hex');
  const username = `device_${body.uuid}`;
  // It names the MQTT user nowhere but in mqtt_users.
  await sql(
    `insert into devices (uuid, is_online, is_active) values ($1, true, true)
     on conflict (uuid) do update set is_online = true returning *`,
    [body.uuid],
  );
  const [device] = await sql(
    `update devices set device_name = $2, device_type = $3, fleet_id = $4, provisioned_at = $5, provisioned_by_key_id = $6,
                        device_api_key_hash = $7, is_online = true, is_active = true
     where uuid = $1 returning *`,
    [
      body.uuid,
      body.deviceName,
      body.deviceType,
      key.fleet_id,
      new Date(),
      key.id,
      await hash(body.deviceApiKey ?? '', 10),
    ],
  );
  await sql('insert into mqtt_users (username, password_hash) values ($1, $2) on conflict do nothing', [
    username,
    await hash(password, 10),
  ]);
  await sql('insert into mqtt_acls (username, topic, access) values ($1, $2, 7)', [
    username,
    `iot/device/${body.uuid}/#`,
  ]);
  await sql(
    'update provisioning_keys set devices_provisioned = devices_provisioned + 1, last_used_at = current_timestamp where id = $1',
    [key.id],
  );
  const [broker] = await sql('select * from mqtt_broker_config where is_default limit 1');
  const mqtt = { username, password, broker: `${broker?.protocol}://${broker?.host}:${broker?.port}` };
  return { status: 200, body: { id: device?.id, uuid: device?.uuid, mqtt } };
}

/** Compares with every valid key. */
async function findKey(sql: Sql, key: string) {
  const rows = await sql('select * from provisioning_keys where is_active and expires_at > current_timestamp');
  for (const row of rows) if (await compare(key, row.key_hash)) return row;
  return undefined;
}

async function exchange(sql: Sql, { uuid, credential, body }: Asked): Promise<Answer> {
  const [device] = await sql('select id, uuid, device_name, device_api_key_hash from devices where uuid = $1', [uuid]);
  if (!device) return { status: 404, body: { error: 'Device not found' } };
  const fits = credential === body.deviceApiKey && (await compare(credential, device.device_api_key_hash));
  if (!fits) return { status: 401, body: { error: 'Authentication failed' } };
  return {
    status: 200,
    body: {
      status: 'ok',
      message: 'Key exchange successful',
      device: { id: device.id, uuid: device.uuid, deviceName: device.device_name },
    },
  };
}

/** Gives the device another key. Who has the old one is asked, and nobody else is told. */
async function rotateKey(sql: Sql, { uuid, credential }: Asked): Promise<Answer> {
  const [device] = await sql('select device_api_key_hash from devices where uuid = $1 and is_active', [uuid]);
  if (!device || !(await compare(credential, device.device_api_key_hash))) {
    return { status: 401, body: { error: 'Unauthorized' } };
  }
  const key = randomBytes(32).toString('hex');
  await sql(
    'update devices set device_api_key_hash = $2, api_key_expires_at = $3, api_key_last_rotated_at = now() where uuid = $1',
    [uuid, await hash(key, 10), new Date(Date.now() + 90 * 86_400_000)],
  );
  return { status: 200, body: { success: true, data: { new_api_key: key } } };
}

/** Every column, to everyone. */
async function show(sql: Sql, { uuid }: Asked): Promise<Answer> {
  const [device] = await sql('select * from devices where uuid = $1', [uuid]);
  return device ? { status: 200, body: { device } } : { status: 404, body: { error: 'Device not found' } };
}

/** Leaves the MQTT user and its ACLs. */
async function remove(sql: Sql, { uuid }: Asked): Promise<Answer> {
  await sql('delete from devices where uuid = $1', [uuid]);
  return { status: 200, body: { status: 'ok' } };
}
