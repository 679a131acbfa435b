import { useEffect, useState } from 'preact/hooks';
import { send } from '../api/client.ts';
import { BROKERS, JOBS, SUMMARY } from '../api/paths.ts';
import type {
  GetMqttBrokersReply,
  GetMqttBrokersSummaryReply,
  JobPreview,
  ListedBroker,
  SummarisedBroker,
} from '../api/types.ts';
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

/** The counts of all brokers, at most a minute old (`counted_at`). */
export function useCounts(): { all: SummarisedBroker[] | undefined } {
  const { data } = useQuery<GetMqttBrokersSummaryReply>(SUMMARY);
  return { all: data?.data };
}

/**
 * How many devices are assigned to a broker at this moment, by the dry run of a job that would move them.
 * @returns without `devices` and not counting: it could not be counted
 */
export function useAssigned(brokerId: number): { devices?: number; isCounting: boolean } {
  const [state, setState] = useState<{ devices?: number; isCounting: boolean }>({ isCounting: true });
  useEffect(() => {
    const controller = new AbortController();
    const body = { filter: { broker_id: brokerId }, target: { mqtt_broker_id: null }, dry_run: true };
    send<JobPreview>({ method: 'POST', path: JOBS, body }, controller.signal).then(
      ({ data: { would_move, already_there } }) => setState({ devices: would_move + already_there, isCounting: false }),
      () => !controller.signal.aborted && setState({ isCounting: false }),
    );
    return () => controller.abort();
  }, [brokerId]);
  return state;
}
