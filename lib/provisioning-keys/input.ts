import * as z from 'zod/mini';
import { clearable, integerText, optionalText, requiredText, rowId, rowUuid, wholeNumber } from '../fields.ts';

const DAY_MS = 86_400_000;
const MAX_DAYS = 3650;

const fleetId = z.optional(requiredText(100, 'The fleet of the devices that register with the key'));
const maxDevices = z.optional(wholeNumber(1, 10_000, 'How many devices may register with it'));
const expiresInDays = z.optional(wholeNumber(1, MAX_DAYS, 'Days from now until it expires'));
const expiresAt = z.optional(
  z.iso.datetime({ offset: true, error: 'must be a time such as 2030-01-31T12:00:00Z' }).check(
    z.refine((time) => Date.parse(time) > Date.now(), { error: 'must not be over: revoke the key to end it now' }),
    z.refine((time) => Date.parse(time) <= Date.now() + MAX_DAYS * DAY_MS, {
      error: `must be within ${MAX_DAYS} days`,
    }),
    z.meta({ description: 'When it expires' }),
  ),
);
const defaultBrokerId = z.optional(
  z.nullable(rowId('The broker that its devices are assigned to; null: they follow the default broker')),
);

/** A check: of these members, one is sent at most. */
function oneOf(...names: string[]) {
  return z.superRefine<Record<string, unknown>>((sent, ctx) => {
    const [first, second] = names.filter((name) => sent[name] !== undefined);
    if (first === undefined || second === undefined) return;
    // The problem is at a member with a value: null counts as missing.
    const [at, other] = sent[second] === null ? [first, second] : [second, first];
    ctx.addIssue({ code: 'custom', path: [at], message: `contradicts ${other}: send one of the two` });
  });
}

// The members of requests may be spelled like the columns, or as the legacy service spells them.

export const listKeysQuery = z.pipe(
  z
    .strictObject({
      fleetId,
      fleet_id: fleetId,
      limit: z.optional(integerText(1, 1000, 'Keys per page. Default: 1000')),
      after: z.optional(rowUuid),
    })
    .check(oneOf('fleetId', 'fleet_id')),
  z.transform(({ fleet_id, fleetId = fleet_id, ...page }) => ({ fleetId, ...page })),
);

export const createKeyBody = z.pipe(
  z
    .strictObject({
      fleetId,
      fleet_id: fleetId,
      maxDevices,
      max_devices: maxDevices,
      expiresInDays,
      expires_in_days: expiresInDays,
      defaultBrokerId,
      default_broker_id: defaultBrokerId,
      description: optionalText(1000, 'For the operator'),
    })
    .check(
      oneOf('fleetId', 'fleet_id'),
      oneOf('maxDevices', 'max_devices'),
      oneOf('expiresInDays', 'expires_in_days'),
      oneOf('default_broker_id', 'defaultBrokerId'),
      z.refine(({ fleetId, fleet_id }) => (fleetId ?? fleet_id) !== undefined, { path: ['fleetId'] }),
      z.meta({ description: 'Required: fleetId. Default: maxDevices 100, expiresInDays 365' }),
    ),
  z.transform((sent) => ({
    fleet_id: (sent.fleetId ?? sent.fleet_id) as string,
    max_devices: sent.maxDevices ?? sent.max_devices ?? 100,
    expires_in_days: sent.expiresInDays ?? sent.expires_in_days ?? 365,
    default_broker_id: sent.defaultBrokerId ?? sent.default_broker_id ?? null,
    description: sent.description,
  })),
);

export const updateKeyBody = z.pipe(
  z
    .strictObject({
      maxDevices,
      max_devices: maxDevices,
      expiresAt,
      expires_at: expiresAt,
      expiresInDays,
      expires_in_days: expiresInDays,
      defaultBrokerId,
      default_broker_id: defaultBrokerId,
      description: clearable(1000, 'For the operator; null or empty: none'),
    })
    .check(
      oneOf('maxDevices', 'max_devices'),
      oneOf('expires_at', 'expiresAt', 'expires_in_days', 'expiresInDays'),
      oneOf('default_broker_id', 'defaultBrokerId'),
    ),
  z.transform((sent) => ({
    max_devices: sent.maxDevices ?? sent.max_devices,
    expires_at: sent.expiresAt ?? sent.expires_at,
    expires_in_days: sent.expiresInDays ?? sent.expires_in_days,
    default_broker_id: sent.defaultBrokerId === undefined ? sent.default_broker_id : sent.defaultBrokerId,
    description: sent.description,
  })),
);
export type KeyUpdate = z.output<typeof updateKeyBody>;

export const revokeKeyBody = z.strictObject({ reason: optionalText(1000, 'Why, for the record') });
