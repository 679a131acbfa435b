import * as z from 'zod/mini';
import { checkCertificates as check } from '../lib/brokers/check-certificates.ts';
import { createBroker } from '../lib/brokers/create.ts';
import { deleteBroker } from '../lib/brokers/delete.ts';
import { getBroker } from '../lib/brokers/get.ts';
import {
  brokerParams,
  createBrokerBody,
  listBrokersQuery,
  MAX_BROKER_BODY_BYTES,
  reassignTo,
  updateBrokerBody,
} from '../lib/brokers/input.ts';
import { listBrokers } from '../lib/brokers/list.ts';
import { listedBroker, oneBroker } from '../lib/brokers/row.ts';
import { summariseBrokers, summarisedBroker } from '../lib/brokers/summary.ts';
import { testBrokerConnection, testedBroker, testResult } from '../lib/brokers/test-connection.ts';
import { updateBroker } from '../lib/brokers/update.ts';
import {
  brokerChanging,
  brokerConfigNotFound,
  brokerHasDevices,
  brokerInUse,
  brokerNameTaken,
  brokerNeeded,
  brokerTestRunning,
  defaultBrokerInactive,
  missingBrokerFields,
  nothingToUpdate,
  preconditionFailed,
  reassignTargetUnusable,
  sealingNotConfigured,
  unsealingFailed,
} from '../lib/errors.ts';
import { booleanText } from '../lib/fields.ts';
import { admin } from '../lib/http/admin.ts';
import { endpoint, routes } from '../lib/http/endpoint.ts';
import { quoted, tagsOf } from '../lib/http/etag.ts';
import { nextLink } from '../lib/http/page.ts';
import { scheduled } from '../lib/http/scheduled.ts';

const path = '/api/v1/mqtt/brokers';
const envelope = { success: false };
const changeProblems = [brokerNameTaken, brokerChanging, defaultBrokerInactive, sealingNotConfigured] as const;
const force = z.optional(
  booleanText('Even if devices are left without a broker, or lose one that becomes inactive or is deleted'),
);
const success = z.literal(true);
const listOf = (broker: z.ZodMiniType, page = {}) => ({
  200: {
    description: 'The default first, then by name',
    body: z.object({ success, data: z.array(broker), count: z.int(), ...page }),
  },
});
const devices_affected = z.nullable(z.int()).check(
  z.meta({
    description:
      'Devices that resolve to another broker because of the change, that get other settings, that stay at a drained broker, or that may no longer use a broker that they do not resolve to. Null: they could not be counted in time',
  }),
);
const changed = z.object({ success, message: z.string(), data: oneBroker, devices_affected });

const list = endpoint({
  method: 'GET',
  path,
  summary: 'List the brokers',
  auth: admin,
  envelope,
  query: listBrokersQuery,
  replies: listOf(listedBroker, { next: z.optional(z.string()) }),
  run: async (ctx, { query }) => {
    const { nextAfter, ...page } = await listBrokers(ctx, query);
    return { body: { ...page, ...nextLink(path, query, { after: nextAfter }) } };
  },
});

const summary = endpoint({
  method: 'GET',
  path: `${path}/summary`,
  summary: 'List the brokers with their device counts',
  auth: admin,
  envelope,
  query: listBrokersQuery,
  replies: listOf(summarisedBroker, { next: z.optional(z.string()) }),
  run: async (ctx, { query }) => {
    const { nextAfter, ...page } = await summariseBrokers(ctx, query);
    return { body: { ...page, ...nextLink(`${path}/summary`, query, { after: nextAfter }) } };
  },
});

const get = endpoint({
  method: 'GET',
  path: `${path}/{id}`,
  summary: 'One broker',
  description: 'With its certificates. Password and private key are never returned.',
  auth: admin,
  envelope,
  params: brokerParams,
  replies: {
    200: {
      description: 'The broker',
      body: z.object({ success, data: oneBroker }),
      headers: { ETag: 'For If-Match' },
    },
  },
  problems: [brokerConfigNotFound],
  run: async (ctx, { params }) => {
    const { body, tag } = await getBroker(ctx, params.id);
    return { body, headers: { etag: quoted(tag) } };
  },
});

const create = endpoint({
  method: 'POST',
  path,
  summary: 'Add a broker',
  auth: admin,
  envelope,
  body: createBrokerBody,
  maxBodyBytes: MAX_BROKER_BODY_BYTES,
  replies: {
    201: { description: 'Added', body: changed, headers: { Location: 'Its path', ETag: 'For If-Match' } },
  },
  problems: [...changeProblems],
  missing: missingBrokerFields,
  run: async (ctx, { body }) => {
    const { body: created, tag } = await createBroker(ctx, body);
    return { status: 201, headers: { location: `${path}/${created.data.id}`, etag: quoted(tag) }, body: created };
  },
});

const update = endpoint({
  method: 'PUT',
  path: `${path}/{id}`,
  summary: 'Change a broker',
  description:
    'Fields that are not sent stay unchanged. `is_default: true` makes it the default and unsets the former default. With `If-Match`, the change fails if the broker has changed since; the problem contains the broker as `current`.',
  auth: admin,
  envelope,
  params: brokerParams,
  query: z.object({ force }),
  body: updateBrokerBody,
  maxBodyBytes: MAX_BROKER_BODY_BYTES,
  replies: { 200: { description: 'Changed', body: changed, headers: { ETag: 'For If-Match' } } },
  problems: [
    ...changeProblems,
    nothingToUpdate,
    brokerConfigNotFound,
    preconditionFailed,
    brokerNeeded,
    brokerHasDevices,
    unsealingFailed,
  ],
  missing: missingBrokerFields,
  run: async (ctx, { params, query, body, headers }) => {
    const force = query.force === true;
    const { body: reply, tag } = await updateBroker(ctx, params.id, body, force, tagsOf(headers['if-match']));
    return { body: reply, headers: { etag: quoted(tag) } };
  },
});

const remove = endpoint({
  method: 'DELETE',
  path: `${path}/{id}`,
  summary: 'Delete a broker',
  description:
    'Refused while devices are assigned to it, or may still use it after a move. With `reassign_to` the assigned devices are moved first; those that do not poll are then offline. With `If-Match`, it fails if the broker has changed since.',
  auth: admin,
  envelope,
  params: brokerParams,
  query: z.object({ force, reassign_to: z.optional(reassignTo) }),
  replies: {
    200: {
      description: 'Deleted',
      body: z.object({ success, message: z.string(), devices_affected, devices_moved: z.optional(z.int()) }),
    },
  },
  problems: [
    brokerConfigNotFound,
    preconditionFailed,
    brokerInUse,
    brokerNeeded,
    brokerHasDevices,
    brokerChanging,
    reassignTargetUnusable,
  ],
  run: async (ctx, { params, query, headers }) => ({
    body: await deleteBroker(ctx, params.id, {
      reassignTo: query.reassign_to,
      force: query.force === true,
      tags: tagsOf(headers['if-match']),
    }),
  }),
});

const test = endpoint({
  method: 'POST',
  path: `${path}/{id}/test`,
  summary: 'Connect to a broker',
  description:
    'A real MQTT CONNECT with its stored settings and credentials. If the broker cannot be reached, the reply is 200 with `reachable: false`, the stage that failed and what to do.',
  auth: admin,
  envelope,
  params: brokerParams,
  budgetMs: 9_500,
  replies: {
    200: {
      description: 'The result',
      body: z.object({ success, message: z.string(), broker: testedBroker, data: testResult }),
    },
  },
  problems: [brokerConfigNotFound, brokerTestRunning, unsealingFailed],
  run: async (ctx, { params }) => ({ body: await testBrokerConnection(ctx, params.id) }),
});

export const handler = routes(create, update, remove, test);
/** Served by operator-reads.ts. */
export const reads = [list, summary, get];

/** Run by a schedule. */
export const checkCertificates = scheduled((ctx) => check(ctx));
