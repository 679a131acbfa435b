import { BROKERS } from '../api/paths.ts';
import type { GetMqttBrokersReply, ListedBroker } from '../api/types.ts';
import { useQuery } from './query.ts';

/** All brokers, to name and to choose them: the first 1,000, the default first. */
export function useBrokers(): ListedBroker[] {
  return useQuery<GetMqttBrokersReply>(BROKERS).data?.data ?? [];
}

/** Those that take devices, as options of a select. */
export function targetOptions(brokers: ListedBroker[]): [value: string, text: string][] {
  return brokers
    .filter(({ is_active, accepts_new_devices }) => is_active && accepts_new_devices)
    .map(({ id, name }) => [String(id), name]);
}

/** `mqtts://broker.example.com:8883`. */
export function urlOf({ protocol, host, port }: Pick<ListedBroker, 'protocol' | 'host' | 'port'>): string {
  return `${protocol}://${host.includes(':') ? `[${host}]` : host}:${port}`;
}
