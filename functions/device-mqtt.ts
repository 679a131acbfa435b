import { getMqtt } from '../lib/devices/get-mqtt.ts';
import { deviceParams } from '../lib/devices/input.ts';
import { mqttReply } from '../lib/devices/mqtt-reply.ts';
import {
  authenticationFailed,
  deviceInactive,
  deviceNotFound,
  noBrokerAvailable,
  tooManyRequests,
} from '../lib/errors.ts';
import { deviceKey } from '../lib/http/auth.ts';
import { endpoint } from '../lib/http/endpoint.ts';
import { matches, quoted } from '../lib/http/etag.ts';

export const handler = endpoint({
  method: 'GET',
  path: '/api/v1/device/{uuid}/mqtt',
  summary: 'The broker that the device belongs to now',
  description: 'Poll it with `If-None-Match`: 304 while the settings are the same, 200 with the new ones.',
  auth: deviceKey,
  params: deviceParams,
  replies: {
    200: {
      description: 'Connection settings',
      body: mqttReply,
      headers: { ETag: '`version` in quotes; changes with anything that the device must act on' },
    },
    304: { description: 'The settings are the same', headers: { ETag: 'As sent' } },
  },
  problems: [authenticationFailed, deviceInactive, deviceNotFound, tooManyRequests, noBrokerAvailable],
  run: async (ctx, { params, credential, headers }) => {
    const tags = headers['if-none-match'];
    const holds = (version: string) => matches(tags, quoted(version));
    const body = await getMqtt(ctx, params.uuid, credential, tags ? holds : undefined);
    const etag = quoted(body.version);
    return holds(body.version) ? { status: 304, headers: { etag } } : { body, headers: { etag } };
  },
});
