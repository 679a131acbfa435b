import { register } from '../lib/devices/register.ts';
import { registerBody, registerReply } from '../lib/devices/schema.ts';
import { provisioningKey } from '../lib/http/auth.ts';
import { endpoint } from '../lib/http/endpoint.ts';

export const handler = endpoint({
  method: 'POST',
  path: '/api/v1/device/register',
  summary: 'Register a device',
  description:
    'Safe to repeat: the same uuid with the same device key gets the same credentials and the current broker again, with `Idempotent-Replayed: true`, and no place on the provisioning key is used.',
  auth: provisioningKey,
  body: registerBody,
  replies: {
    200: {
      description: 'Registered, now or before',
      body: registerReply,
      headers: { 'Idempotent-Replayed': '`true` when the device was registered already' },
    },
  },
  problems: [
    'missing-fields',
    'invalid-request',
    'malformed-json',
    'body-too-large',
    'unauthorized',
    'invalid-provisioning-key',
    'provisioning-key-expired',
    'provisioning-key-revoked',
    'provisioning-key-exhausted',
    'device-inactive',
    'device-already-registered',
    'device-in-other-fleet',
    'too-many-requests',
    'no-broker-available',
    'key-check-unfinished',
    'database-unavailable',
  ],
  run: async (ctx, { body, credential }) => {
    const { body: reply, replayed } = await register(ctx, body, credential);
    return { body: reply, headers: replayed ? { 'idempotent-replayed': 'true' } : {} };
  },
});
