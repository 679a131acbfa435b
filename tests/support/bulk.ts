import { workOn } from '../../lib/bulk-assign/worker.ts';
import { type Answer, type Call, call } from './api.ts';
import { addBroker, admin, type Berth } from './berth.ts';

export const JOBS = '/api/v1/devices/bulk-assign';

/** Removes all devices, jobs, keys and brokers, and adds two brokers: `one` is the default. */
export async function beginWithTwoBrokers(berth: Berth): Promise<{ one: number; two: number }> {
  await berth.sql(
    'truncate devices, device_events, operator_events, bulk_assign_jobs, leases, provisioning_keys, mqtt_broker_config restart identity cascade',
  );
  return {
    one: await addBroker(berth, { name: 'one', is_default: true }),
    two: await addBroker(berth, { name: 'two' }),
  };
}

/** Adds `count` devices in bulk; columns are SQL, with `n` counting from 1. */
export async function addDevices(berth: Berth, count: number, columns: Record<string, string> = {}): Promise<void> {
  const all = { uuid: "'dev-' || n", fleet_id: "'fleet-a'", device_type: "'sensor'", ...columns };
  await berth.sql(
    `insert into devices (${Object.keys(all)}) select ${Object.values(all)} from generate_series(1, ${count}) n`,
  );
}

/** Requests a job; `target` is the broker's id, null or "default". The reply as the request gets it. */
export function requestJob(
  target: number | null | 'default',
  body: Record<string, unknown> = { all: true },
  options: Call = {},
): Promise<Answer> {
  const { headers, ...rest } = options;
  return call(`POST ${JOBS}`, {
    headers: { ...admin, ...headers },
    body: { target: { mqtt_broker_id: target }, ...body },
    ...rest,
  });
}

/** {@link requestJob}, and the job when a worker has finished what the request left: a machine can be slow. */
export async function assign(...job: Parameters<typeof requestJob>): Promise<Answer> {
  return finished(await requestJob(...job));
}

/** An operator's request for a job: `method` of `/{id}` and `verb`. The reply as the request gets it. */
export function requestOnJob(method: 'GET' | 'POST', id: number, verb = '', options: Call = {}): Promise<Answer> {
  const { headers, ...rest } = options;
  return call(`${method} ${JOBS}/${id}${verb}`, { headers: { ...admin, ...headers }, ...rest });
}

/** {@link requestOnJob}, and the job when a worker has finished what the request left. */
export async function onJob(...request: Parameters<typeof requestOnJob>): Promise<Answer> {
  return finished(await requestOnJob(...request));
}

/** The job of a reply 202 when a worker has finished it; every other reply unchanged. */
export async function finished(answer: Answer): Promise<Answer> {
  if (answer.status !== 202) return answer;
  await workOn(contextFor(29_000), answer.body.id);
  return { ...(await requestOnJob('GET', answer.body.id)), headers: answer.headers };
}

/** Number of devices per broker; `null`: unassigned. */
export async function perBroker(berth: Berth): Promise<Record<string, number>> {
  const rows = await berth.sql('select mqtt_broker_id as id, count(*)::int as n from devices group by 1');
  return Object.fromEntries(rows.map(({ id, n }) => [String(id), n]));
}

/** Number of the job's events by type and reason. */
export async function outcomes(berth: Berth, id: number): Promise<Record<string, number>> {
  const rows = await berth.sql(
    `select type || ' ' || reason as what, count(*)::int as n from device_events where job_id = $1 group by 1`,
    [id],
  );
  return Object.fromEntries(rows.map(({ what, n }) => [what, n]));
}

/** A context for verbs called without HTTP. */
export const contextFor = (ms: number) => ({
  requestId: crypto.randomUUID(),
  sourceIp: '',
  actor: 'schedule' as const,
  deadline: Date.now() + ms,
});

/** Adds a job that no worker has started, as a request leaves it that was cut off. */
export async function leaveOpen(berth: Berth, columns: Record<string, unknown>): Promise<number> {
  const row = {
    once: `request:${crypto.randomUUID()}`,
    request_id: 'r',
    created_by: 'admin',
    filter: '{}',
    start_id: 0,
    cursor_id: 0,
    ...columns,
  };
  const names = Object.keys(row);
  const [job] = await berth.sql(
    `insert into bulk_assign_jobs (${names.join(', ')}, end_id)
     values (${names.map((_, i) => `$${i + 1}`).join(', ')}, (select coalesce(max(id), 0) from devices)) returning id`,
    Object.values(row),
  );
  return job?.id;
}
