/** Paths of the API, for requests and for what a change makes stale. */
export const BROKERS = '/api/v1/mqtt/brokers';
export const SUMMARY = `${BROKERS}/summary`;
export const DEVICES = '/api/v1/devices';
export const JOBS = '/api/v1/devices/bulk-assign';
export const FLEETS = '/api/v1/fleets';
export const KEYS = '/api/v1/provisioning-keys';
export const STATS = '/api/v1/stats';
export const EVENTS = '/api/v1/events';

export function brokerPath(id: number | string): string {
  return `${BROKERS}/${encodeURIComponent(id)}`;
}

export function devicePath(uuid: string): string {
  return `${DEVICES}/${encodeURIComponent(uuid)}`;
}
