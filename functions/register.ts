import { registerBody } from '../lib/devices/input.ts';
import { register, registerReply } from '../lib/devices/register.ts';
import {
  deviceAlreadyRegistered,
  deviceInactive,
  deviceInOtherFleet,
  invalidProvisioningKey,
  keyCheckUnfinished,
  noBrokerAvailable,
  provisioningKeyExhausted,
  provisioningKeyExpired,
  provisioningKeyRevoked,
  tooManyRequests,
} from '../lib/errors.ts';
import { provisioningKey } from '../lib/http/auth.ts';
import { endpoint } from '../lib/http/endpoint.ts';

export const handler = endpoint({
  method: 'POST',
  path: '/api/v1/device/register',
  summary: 'Register a device',
  description:
    'Safe to repeat: the same uuid with the same device key gets the same credentials and the current broker, with `Idempotent-Replayed: true`, and charges no quota.',
  auth: provisioningKey,
  body: registerBody,
  replies: {
    200: {
      description: 'Registered now or before',
      body: registerReply,
      headers: { 'Idempotent-Replayed': '`true` if the device was registered before' },
    },
  },
  problems: [
    invalidProvisioningKey,
    provisioningKeyExpired,
    provisioningKeyRevoked,
    provisioningKeyExhausted,
    deviceInactive,
    deviceAlreadyRegistered,
    deviceInOtherFleet,
    tooManyRequests,
    noBrokerAvailable,
    keyCheckUnfinished,
  ],
  run: async (ctx, { body, credential }) => {
    const { body: reply, replayed } = await register(ctx, body, credential);
    return { body: reply, headers: replayed ? { 'idempotent-replayed': 'true' } : {} };
  },
});
