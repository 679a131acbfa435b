import * as z from 'zod/mini';
import type { ResolvedBroker } from '../resolution/broker-row.ts';

/** What a device was last handed. `is_used`: it has no former broker any more. */
export type Handed = { broker_id: number | null; version: string | null; at: string | null; is_used: boolean };

export const handedReply = z
  .nullable(
    z.object({
      broker_id: z.nullable(z.int()),
      version: z.nullable(
        z.string().check(z.meta({ description: 'Changes with the broker’s settings; not `mqtt.version`' })),
      ),
      at: z.nullable(z.string().check(z.meta({ format: 'date-time' }))),
    }),
  )
  .check(z.meta({ description: 'The settings that Berth last gave to the device; null: not known' }));
export const followsReply = z
  .union([z.boolean(), z.literal('unknown')])
  .check(
    z.meta({ description: 'false: the device is behind, it was last handed other settings than its broker has now' }),
  );

/** What a device was handed, and whether it follows its broker, with a sentence. */
export function formatHanded({ broker_id, version, at, is_used }: Handed, isBehind: boolean, broker?: ResolvedBroker) {
  const handed =
    broker_id === null && at === null ? null : { broker_id, version, at: at && new Date(at).toISOString() };
  const [follows, why] = followsOf(broker_id, version, is_used, isBehind, broker);
  return { handed, follows, why_follows: why };
}

function followsOf(
  brokerId: number | null,
  version: string | null,
  isUsed: boolean,
  isBehind: boolean,
  broker: ResolvedBroker | undefined,
): [boolean | 'unknown', string] {
  if (brokerId === null) return ['unknown', 'It is not known which settings the device was handed.'];
  if (broker?.source !== undefined && broker.source !== 'environment' && isBehind) {
    return brokerId === broker.row.id
      ? [false, `It was handed earlier settings of broker ${brokerId}, and has not asked since they changed.`]
      : [false, `It was handed broker ${brokerId}, belongs to broker ${broker.row.id}, and has not asked since.`];
  }
  if (version === null) {
    return ['unknown', `Before this version, it was handed broker ${brokerId}; which settings of it is not known.`];
  }
  if (!isUsed)
    return ['unknown', `It was handed the current settings, and no login at broker ${brokerId} was seen since.`];
  return [true, `It was handed the current settings of broker ${brokerId}.`];
}
