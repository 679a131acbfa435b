import * as z from 'zod/mini';
import { integerText, optionalText, requiredText, rowId, rowUuid, wholeNumber } from '../fields.ts';

export const fleetId = requiredText(100, 'The fleet of the devices that register with the key');

export const listKeysQuery = z.object({
  fleetId,
  limit: z.optional(integerText(1, 1000, 'Keys per page. Default: 1000')),
  after: z.optional(rowUuid),
});

export const createKeyBody = z.strictObject({
  fleetId,
  maxDevices: z._default(wholeNumber(1, 10_000, 'How many devices may register with it'), 100),
  expiresInDays: z._default(wholeNumber(1, 3650, 'Days until it expires'), 365),
  description: optionalText(1000, 'For the operator'),
  default_broker_id: z.optional(z.nullable(rowId('The broker that its devices are assigned to'))),
});

export const revokeKeyBody = z.strictObject({ reason: optionalText(1000, 'Why, for the record') });
