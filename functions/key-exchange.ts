import * as z from 'zod/mini';
import { deviceParams } from '../lib/devices/input.ts';
import { exchangeKey } from '../lib/devices/key-exchange.ts';
import {
  authenticationFailed,
  deviceInactive,
  deviceNotFound,
  keyMismatch,
  missingCredentials,
  tooManyRequests,
} from '../lib/errors.ts';
import { optionalText } from '../lib/fields.ts';
import { deviceKey } from '../lib/http/auth.ts';
import { endpoint } from '../lib/http/endpoint.ts';

export const handler = endpoint({
  method: 'POST',
  path: '/api/v1/device/{uuid}/key-exchange',
  summary: 'Check a device key',
  description: 'Send the device key twice: as `Authorization: Bearer KEY` and as `deviceApiKey`.',
  auth: deviceKey,
  params: deviceParams,
  body: z.object({ deviceApiKey: optionalText(255, 'The device key') }),
  replies: {
    200: {
      description: 'The key is correct',
      body: z.object({
        status: z.literal('ok'),
        message: z.string(),
        device: z.object({ id: z.int(), uuid: z.string(), deviceName: z.nullable(z.string()) }),
      }),
    },
  },
  problems: [missingCredentials, keyMismatch, authenticationFailed, deviceInactive, deviceNotFound, tooManyRequests],
  run: async (ctx, { params, body, credential }) => ({
    body: await exchangeKey(ctx, params.uuid, credential, body.deviceApiKey),
  }),
});
