import { get } from '../api/client.ts';
import { Failure } from '../api/failure.ts';
import { BROKERS, DEVICES, JOBS, KEYS } from '../api/paths.ts';
import type {
  GetDevicesBulkAssignReply,
  GetDevicesReply,
  GetMqttBrokersReply,
  GetProvisioningKeysReply,
  Job,
  ListedBroker,
  ProvisioningKey,
} from '../api/types.ts';
import { apiPath } from '../url-state.ts';

/** Something to open: `detail` tells it from others of the same name. */
export type Item = { href: string; text: string; detail: string };
export type Group = { title: string; items: Item[]; failure?: Failure };
/** What all searches of one palette share: lists that are short enough to be fetched once. */
export type Lists = { brokers?: Promise<ListedBroker[]>; keys?: Promise<ProvisioningKey[]>; jobs?: Promise<Job[]> };

const MOST = 8;
/** At most this many of each are searched by their text: the newest keys and jobs, brokers by name. */
const BROKERS_LISTED = 1000;
const KEYS_LISTED = 500;
const JOBS_LISTED = 100;

/** Pages whose label has the text. */
export function findPages(text: string, pages: [href: string, label: string][]): Group {
  const items = pages
    .filter(([, label]) => has(label, text))
    .map(([href, label]) => ({ href, text: label, detail: '' }));
  return { title: 'Pages', items };
}

/**
 * Finds devices by the beginning of their uuid or name, brokers, keys and jobs by any part of what names them, and each by its
 * id. A kind that cannot be searched has its failure instead.
 *
 * @throws the reason of `signal` when it is aborted
 */
export async function find(text: string, lists: Lists, signal: AbortSignal): Promise<Group[]> {
  const groups = await Promise.all([
    group('Devices', () => findDevices(text, signal)),
    group('Brokers', () => findBrokers(text, lists)),
    group('Provisioning keys', () => findKeys(text, lists)),
    group('Bulk-assign jobs', () => findJobs(text, lists, signal)),
  ]);
  signal.throwIfAborted();
  return groups.filter(({ items, failure }) => items.length > 0 || failure);
}

async function group(title: string, search: () => Promise<Item[]>): Promise<Group> {
  try {
    return { title, items: (await search()).slice(0, MOST) };
  } catch (failure) {
    // Aborted: nobody looks at it.
    return failure instanceof Failure ? { title, items: [], failure } : { title, items: [] };
  }
}

async function findDevices(search: string, signal: AbortSignal): Promise<Item[]> {
  const reply = await get<GetDevicesReply>(apiPath(DEVICES, { search, limit: MOST }), undefined, signal);
  return (reply?.data.devices ?? []).map(({ uuid, device_name, fleet_id }) => ({
    href: `/devices/${encodeURIComponent(uuid)}`,
    text: device_name ?? uuid,
    detail: [device_name ? uuid : '', fleet_id ?? ''].filter(Boolean).join(' · '),
  }));
}

async function findBrokers(text: string, lists: Lists): Promise<Item[]> {
  lists.brokers ??= listed<GetMqttBrokersReply>(BROKERS, BROKERS_LISTED).then((reply) => reply?.data ?? []);
  return (await kept(lists, 'brokers'))
    .filter(({ id, name, host }) => has(name, text) || has(host, text) || String(id) === text)
    .map(({ id, name, host, port }) => ({ href: `/brokers/${id}`, text: name, detail: `${host}:${port}` }));
}

async function findKeys(text: string, lists: Lists): Promise<Item[]> {
  lists.keys ??= listed<GetProvisioningKeysReply>(KEYS, KEYS_LISTED).then((reply) => reply?.keys ?? []);
  return (await kept(lists, 'keys'))
    .filter(
      (key) => has(key.fleet_id, text) || has(key.description ?? '', text) || key.id.startsWith(text.toLowerCase()),
    )
    .map(({ id, fleet_id, description }) => ({
      href: `/keys/${id}`,
      text: fleet_id,
      detail: [description ?? '', id].filter(Boolean).join(' · '),
    }));
}

async function findJobs(text: string, lists: Lists, signal: AbortSignal): Promise<Item[]> {
  lists.jobs ??= listed<GetDevicesBulkAssignReply>(JOBS, JOBS_LISTED).then((reply) => reply?.jobs ?? []);
  const jobs = await kept(lists, 'jobs');
  const [, number] = /^#?([1-9]\d{0,8})$/.exec(text) ?? [];
  const found = jobs.filter(({ id, reason }) => String(id) === number || has(reason ?? '', text));
  // An older one is not in the list.
  if (number && !found.some(({ id }) => String(id) === number)) found.unshift(...(await jobOf(number, signal)));
  return found.map(({ id, reason, state }) => ({
    href: `/jobs/${id}`,
    text: `Job ${id}`,
    detail: [state, reason ?? ''].filter(Boolean).join(' · '),
  }));
}

async function jobOf(id: string, signal: AbortSignal): Promise<Job[]> {
  try {
    const reply = await get<Job>(`${JOBS}/${id}`, undefined, signal);
    return reply ? [reply.data] : [];
  } catch (failure) {
    if (failure instanceof Failure && failure.status === 404) return [];
    throw failure;
  }
}

/** Not aborted with a search: the next one needs it, too. */
async function listed<Reply>(path: string, limit: number): Promise<Reply | undefined> {
  return (await get<Reply>(apiPath(path, { limit })))?.data;
}

/** A list that could not be fetched is fetched again by the next search. */
async function kept<Name extends keyof Lists>(lists: Lists, name: Name): Promise<Awaited<NonNullable<Lists[Name]>>> {
  try {
    return await (lists[name] as NonNullable<Lists[Name]>);
  } catch (failure) {
    delete lists[name];
    throw failure;
  }
}

function has(text: string, part: string): boolean {
  return text.toLowerCase().includes(part.toLowerCase());
}
