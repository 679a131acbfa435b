import * as z from 'zod/mini';
import { settings } from '../settings/settings.ts';
import { BROKER_SOURCES, type BrokerRow, type ResolvedBroker, type TableSource } from './broker-row.ts';
import { resolvedBroker } from './resolve.ts';

/** A row of berth_resolve, with the broker that the step names; null: it names none, or one that does not exist. */
export type ResolutionStep = {
  number: number;
  source: TableSource;
  broker_id: number | null;
  usable: boolean;
  skip_reason: 'none' | 'missing' | 'inactive' | 'draining' | null;
  broker: BrokerRow | null;
};

export const explainedStep = z.object({
  step: z.int(),
  source: z.enum(BROKER_SOURCES),
  broker_id: z.nullable(z.int()),
  outcome: z.enum(['taken', 'skipped', 'not reached']),
  why: z.string(),
});
type ExplainedStep = z.output<typeof explainedStep>;

/**
 * A resolution in words: each step with its outcome and the reason, the environment last, and whether another default
 * broker would move the device.
 *
 * @param steps in the order of their numbers
 */
export function explainResolution(steps: ResolutionStep[]) {
  const taken = steps.find(({ usable }) => usable);
  const broker = resolvedBroker({ broker_source: taken?.source ?? null, broker: taken?.broker ?? null });
  const outcomeOf = ({ number, usable }: { number: number; usable: boolean }) => {
    if (taken && number > taken.number) return 'not reached';
    return usable ? 'taken' : 'skipped';
  };
  const { mqttBrokerUrl } = settings();
  const environment = {
    ...{
      number: steps.length + 1,
      source: 'environment' as const,
      broker_id: null,
      usable: mqttBrokerUrl !== undefined,
    },
    why: mqttBrokerUrl ? 'MQTT_BROKER_URL is set' : 'MQTT_BROKER_URL is not set',
  };
  const explained = [...steps.map((step) => ({ ...step, why: whyOf(step) })), environment].map(
    (step): ExplainedStep => ({
      ...{ step: step.number, source: step.source, broker_id: step.broker_id, outcome: outcomeOf(step), why: step.why },
    }),
  );
  return { broker, steps: explained, ifDefaultChanges: ifDefaultChanges(broker) };
}

const NAMES_NO_BROKER = {
  device: 'the device has no assignment',
  provisioning_key: 'its provisioning key has no default broker',
  default: 'no broker is the default',
};

function whyOf({ source, broker_id, skip_reason, broker }: ResolutionStep): string {
  if (skip_reason === 'none') return NAMES_NO_BROKER[source];
  if (!broker) return `broker ${broker_id} does not exist`;
  const states = { inactive: 'not active', draining: 'draining', missing: 'missing', usable: 'active' };
  return `broker ${broker_id} (${broker.name}) is ${states[skip_reason ?? 'usable']}`;
}

function ifDefaultChanges(broker: ResolvedBroker | undefined): { moves: boolean; why: string } {
  if (broker?.source === 'device' || broker?.source === 'provisioning_key') {
    return { moves: false, why: 'An earlier step decides, so another default changes nothing for this device.' };
  }
  return { moves: true, why: 'No earlier step decides, so this device follows the default broker.' };
}
