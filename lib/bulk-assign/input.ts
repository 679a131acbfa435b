import * as z from 'zod/mini';
import { deviceUuid, integerText, MAX_INTEGER, optionalText, requiredText, rowId, tags } from '../fields.ts';

const MAX_UUIDS = 1_000;
const onlyTrue = z.literal(true, { message: 'must be true or absent' });

/** Which devices a job moves: those that match every member. */
export const filter = z
  .strictObject({
    unassigned: z.optional(onlyTrue),
    fleet_id: z.optional(requiredText(100, 'Devices of this fleet')),
    broker_id: z.optional(rowId('Devices assigned to this broker')),
    device_type: z.optional(requiredText(100, 'Devices of this type')),
    region: z.optional(requiredText(100, 'Devices in this region')),
    tags: z.optional(
      tags('Devices with all of these tags').check(
        z.refine((tags) => Object.keys(tags).length > 0, { message: 'must name a tag' }),
      ),
    ),
    uuids: z.optional(
      z.array(deviceUuid).check(
        z.minLength(1, { message: `must name 1 to ${MAX_UUIDS} devices` }),
        z.maxLength(MAX_UUIDS, {
          message: `must name 1 to ${MAX_UUIDS} devices; for more, filter by fleet, type or broker`,
        }),
      ),
    ),
  })
  .check(
    z.refine(({ unassigned, broker_id }) => !(unassigned && broker_id !== undefined), {
      path: ['broker_id'],
      message: 'contradicts `unassigned`: a device without an assignment has no broker',
    }),
  );
export type Filter = z.output<typeof filter>;

const perMinute = 'must be a whole number from 1 to 100000000, or absent';

const jobReason = optionalText(1000, 'Why, for the record');

/** The body of a request that undoes a job; it may be absent. */
export const revertBody = z.strictObject({ reason: jobReason });

export const newJobBody = z
  .strictObject({
    filter: z._default(filter, {}),
    all: z.optional(onlyTrue),
    target: z.strictObject({
      mqtt_broker_id: z.union([rowId('A broker'), z.null(), z.literal('default')], {
        message: 'must be the id of a broker, null (no assignment: follows the default broker) or "default"',
      }),
    }),
    close_former: z.optional(
      onlyTrue.check(
        z.meta({
          description: 'The brokers that moved devices were handed before refuse them, even if they know no other one',
        }),
      ),
    ),
    dry_run: z._default(z.boolean(), false),
    reason: jobReason,
    max_per_minute: z.optional(
      z
        .int({ message: perMinute })
        .check(
          z.gte(1, { message: perMinute }),
          z.lte(100_000_000, { message: perMinute }),
          z.meta({ description: 'Limit for the devices moved in any 60 seconds' }),
        ),
    ),
  })
  .check(
    z.refine(({ filter, all }) => all || Object.keys(filter).length > 0, {
      message: 'has no filter: name one, or send `"all": true` to move every device',
    }),
    z.refine(({ filter, all }) => !(all && Object.keys(filter).length > 0), {
      path: ['all'],
      message: 'contradicts `filter`: send one of the two',
    }),
  );
export type NewJob = z.output<typeof newJobBody>;

export const jobParams = z.object({ id: integerText(1, MAX_INTEGER, 'The job') });

export const jobsQuery = z.strictObject({
  limit: z.optional(integerText(1, 100, 'Jobs per page, default 20')),
  after: z.optional(integerText(1, MAX_INTEGER, 'Jobs older than this id; `next` of the previous page contains it')),
});
