import * as z from 'zod/mini';
import { deviceUuid, optionalText, requiredText, text } from '../fields.ts';

const applicationId = z.optional(
  z.nullable(
    z.union([text(255, 'Echoed in the reply'), z.int()], {
      message: 'must be a whole number, or a string of at most 255 characters without NUL or unpaired surrogates',
    }),
  ),
);

/** Unknown fields are ignored: firmware in the field sends more than is asked for. */
export const registerBody = z.object({
  uuid: deviceUuid,
  deviceName: requiredText(255, 'Name for people'),
  deviceType: requiredText(100, 'Kind of device'),
  deviceApiKey: requiredText(255, 'The device’s own secret; made on the device, kept there'),
  applicationId,
  macAddress: optionalText(17, 'Such as aa:bb:cc:dd:ee:ff'),
  osVersion: optionalText(100, 'Operating system'),
  supervisorVersion: optionalText(100, 'Version of the agent'),
});
export type Registration = z.output<typeof registerBody>;

export const deviceParams = z.object({ uuid: deviceUuid });
