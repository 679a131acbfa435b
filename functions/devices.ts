import * as z from 'zod/mini';
import { deleteDevice } from '../lib/devices/delete.ts';
import { followsReply, handedReply } from '../lib/devices/follows.ts';
import { getDevice } from '../lib/devices/get.ts';
import { deviceParams } from '../lib/devices/input.ts';
import { listDevices, listDevicesQuery } from '../lib/devices/list.ts';
import { fleetReply, listFleets, listFleetsQuery } from '../lib/devices/list-fleets.ts';
import { rotateCredentials } from '../lib/devices/rotate-credentials.ts';
import { deviceReply, resolvedBrokerReply } from '../lib/devices/row.ts';
import { deviceNotFound } from '../lib/errors.ts';
import { deviceEvent, listDeviceEvents, listEventsQuery } from '../lib/events/list.ts';
import { admin } from '../lib/http/admin.ts';
import { endpoint, routes } from '../lib/http/endpoint.ts';
import { quoted } from '../lib/http/etag.ts';
import { nextLink } from '../lib/http/page.ts';
import { explainedStep } from '../lib/resolution/explain.ts';

const path = '/api/v1/devices';
const done = z.object({ status: z.literal('ok'), message: z.string(), uuid: z.string() });
const next = z.optional(z.string());

const list = endpoint({
  method: 'GET',
  path,
  summary: 'List devices',
  description: 'A page in the order of ids. `next` is the link to the next page.',
  auth: admin,
  query: listDevicesQuery,
  replies: {
    200: { description: 'A page', body: z.object({ count: z.int(), devices: z.array(deviceReply), next }) },
  },
  run: async (ctx, { query }) => {
    const { devices, lastId } = await listDevices(ctx, query);
    return { body: { count: devices.length, devices, ...nextLink(path, query, { after: lastId }) } };
  },
});

const get = endpoint({
  method: 'GET',
  path: `${path}/{uuid}`,
  summary: 'Get a device and the explanation of its broker',
  auth: admin,
  params: deviceParams,
  replies: {
    200: {
      description: 'The device with its resolution explained',
      body: z.object({
        device: deviceReply,
        resolved_broker: resolvedBrokerReply,
        explain: z.array(explainedStep),
        if_default_changes: z.object({ moves: z.boolean(), why: z.string() }),
        handed: handedReply,
        follows: followsReply,
        why_follows: z.string(),
      }),
      headers: { ETag: 'For If-Match' },
    },
  },
  problems: [deviceNotFound],
  run: async (ctx, { params }) => {
    const { body, tag } = await getDevice(ctx, params.uuid);
    return { body, headers: { etag: quoted(tag) } };
  },
});

const remove = endpoint({
  method: 'DELETE',
  path: `${path}/{uuid}`,
  summary: 'Delete a device',
  description:
    'Its MQTT user stops working immediately, and its place on the provisioning key is free. It may register again.',
  auth: admin,
  params: deviceParams,
  replies: { 200: { description: 'Deleted', body: done } },
  problems: [deviceNotFound],
  run: async (ctx, { params }) => ({ body: await deleteDevice(ctx, params.uuid) }),
});

const rotate = endpoint({
  method: 'POST',
  path: `${path}/{uuid}/rotate-credentials`,
  summary: 'End a device’s MQTT password',
  description: 'Immediately. The device gets the next one when it asks for its broker or registers again.',
  auth: admin,
  params: deviceParams,
  replies: { 200: { description: 'Ended', body: done } },
  problems: [deviceNotFound],
  run: async (ctx, { params }) => ({ body: await rotateCredentials(ctx, params.uuid) }),
});

const events = endpoint({
  method: 'GET',
  path: `${path}/{uuid}/events`,
  summary: 'List the events of a device',
  description: 'Newest first, also of a deleted device.',
  auth: admin,
  params: deviceParams,
  query: listEventsQuery,
  replies: {
    200: { description: 'A page', body: z.object({ count: z.int(), events: z.array(deviceEvent), next }) },
  },
  problems: [deviceNotFound],
  run: async (ctx, { params, query }) => {
    const { events, lastId } = await listDeviceEvents(ctx, params.uuid, query);
    return {
      body: { count: events.length, events, ...nextLink(`${path}/${params.uuid}/events`, query, { before: lastId }) },
    };
  },
});

const fleets = endpoint({
  method: 'GET',
  path: '/api/v1/fleets',
  summary: 'List fleets',
  description: 'With the numbers of their devices and provisioning keys. `next` is the link to the next page.',
  auth: admin,
  query: listFleetsQuery,
  replies: {
    200: {
      description: 'In the order of their ids',
      body: z.object({ count: z.int(), fleets: z.array(fleetReply), next }),
    },
  },
  run: async (ctx, { query }) => {
    const { fleets, lastId } = await listFleets(ctx, query);
    return { body: { count: fleets.length, fleets, ...nextLink('/api/v1/fleets', query, { after: lastId }) } };
  },
});

export const handler = routes(remove, rotate);
/** Served by operator-reads.ts. */
export const reads = [list, get, events, fleets];
