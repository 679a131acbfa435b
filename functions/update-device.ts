import * as z from 'zod/mini';
import { deviceParams } from '../lib/devices/input.ts';
import { deviceReply, resolvedBrokerReply } from '../lib/devices/row.ts';
import { setActiveBody, setActive as setDeviceActive } from '../lib/devices/set-active.ts';
import { updateDevice, updateDeviceBody } from '../lib/devices/update.ts';
import {
  brokerDraining,
  brokerInactive,
  brokerNotFound,
  deviceNotFound,
  invalidRequest,
  nothingToUpdate,
  preconditionFailed,
} from '../lib/errors.ts';
import { admin } from '../lib/http/admin.ts';
import { endpoint, routes } from '../lib/http/endpoint.ts';
import { quoted, tagsOf } from '../lib/http/etag.ts';

const update = endpoint({
  method: 'PUT',
  path: '/api/v1/devices/{uuid}',
  summary: 'Change a device or move it to another broker',
  description:
    'At least one field is required. `mqtt_broker_id` null: follow the default broker. A moved device may log in at the broker that it was handed before, until it has followed; `close_former` ends that. A device in another fleet keeps its provisioning key, with which it may register again. With `If-Match`, the change fails if the device has changed since.',
  auth: admin,
  params: deviceParams,
  body: updateDeviceBody,
  replies: {
    200: {
      description: 'The changed device and the broker that it resolves to',
      body: z.object({ device: deviceReply, resolved_broker: resolvedBrokerReply }),
      headers: { ETag: 'For If-Match' },
    },
  },
  problems: [nothingToUpdate, deviceNotFound, preconditionFailed, brokerNotFound, brokerInactive, brokerDraining],
  run: async (ctx, { params, body, headers }) => {
    const { body: reply, tag } = await updateDevice(ctx, params.uuid, body, tagsOf(headers['if-match']));
    return { body: reply, headers: { etag: quoted(tag) } };
  },
});

const setActive = endpoint({
  method: 'PATCH',
  path: '/api/v1/devices/{uuid}/active',
  summary: 'Activate or deactivate a device',
  description:
    'As `PUT /devices/{uuid}` with `is_active`, in the form of the legacy service. Unknown fields are ignored.',
  auth: admin,
  params: deviceParams,
  body: setActiveBody,
  replies: {
    200: {
      description: 'Enabled or disabled',
      body: z.object({
        status: z.literal('ok'),
        message: z.enum(['Device enabled', 'Device disabled']),
        device: z.object({
          uuid: z.string(),
          device_name: z.nullable(z.string()),
          is_active: z.nullable(z.boolean()),
          is_online: z.nullable(z.boolean()),
        }),
      }),
      headers: { ETag: 'For If-Match' },
    },
  },
  problems: [deviceNotFound, preconditionFailed],
  missing: invalidRequest,
  run: async (ctx, { params, body, headers }) => {
    const { body: reply, tag } = await setDeviceActive(ctx, params.uuid, body, tagsOf(headers['if-match']));
    return { body: reply, headers: { etag: quoted(tag) } };
  },
});

export const handler = routes(update, setActive);
