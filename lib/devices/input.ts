import * as z from 'zod/mini';
import { deviceUuid, optionalText, requiredText, tags, text } from '../fields.ts';
import { settings } from '../settings/settings.ts';

const applicationId = z.optional(
  z.nullable(
    z.union([text(255, 'Echoed in the reply'), z.int()], {
      message: 'must be a whole number, or a string of at most 255 characters without NUL or unpaired surrogates',
    }),
  ),
);

const PRINTABLE = /^[!-~]([ -~]*[!-~])?$/;

/**
 * A device key that is registered. The device sends it in a header later, which cannot carry other characters. A shorter
 * key than the setting allows can be guessed.
 */
const newDeviceKey = z.string().check(
  z.minLength(1, { message: 'must not be empty', abort: true }),
  z.maxLength(255, { message: 'must have at most 255 characters', abort: true }),
  z.regex(PRINTABLE, { message: 'must be printable ASCII, without a blank at either end', abort: true }),
  z.refine((key) => key.length >= settings().deviceKeyMinLength, {
    error: () => `must have at least ${settings().deviceKeyMinLength} characters`,
  }),
  z.meta({
    description:
      'The device’s own secret; made on the device, kept there. Printable ASCII. DEVICE_KEY_MIN_LENGTH can set another minLength',
    minLength: 8,
  }),
);

/** Unknown fields are ignored: firmware in the field sends more than is asked for. */
export const registerBody = z.object({
  uuid: deviceUuid,
  deviceName: requiredText(255, 'Name for people'),
  deviceType: requiredText(100, 'Kind of device'),
  deviceApiKey: newDeviceKey,
  applicationId,
  macAddress: optionalText(17, 'Such as aa:bb:cc:dd:ee:ff'),
  osVersion: optionalText(100, 'Operating system'),
  supervisorVersion: optionalText(100, 'Version of the agent'),
  region: optionalText(100, 'Where it is'),
  tags: z.optional(
    z.nullable(
      tags('Names and values for filters: at most 16, {"site": "berlin"}. They replace those that it sent before'),
    ),
  ),
});
export type Registration = z.output<typeof registerBody>;

export const deviceParams = z.object({ uuid: deviceUuid });
