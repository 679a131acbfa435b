import * as z from 'zod/mini';
import {
  brokerDraining,
  brokerInactive,
  brokerNotFound,
  nothingToUpdate,
  preconditionFailed,
  provisioningKeyNotFound,
} from '../lib/errors.ts';
import { rowUuid } from '../lib/fields.ts';
import { admin } from '../lib/http/admin.ts';
import { endpoint, routes } from '../lib/http/endpoint.ts';
import { quoted, tagsOf } from '../lib/http/etag.ts';
import { idempotencyKey } from '../lib/http/idempotency-key.ts';
import { nextLink } from '../lib/http/page.ts';
import { createProvisioningKey } from '../lib/provisioning-keys/create.ts';
import { getProvisioningKey } from '../lib/provisioning-keys/get.ts';
import { createKeyBody, listKeysQuery, revokeKeyBody, updateKeyBody } from '../lib/provisioning-keys/input.ts';
import { listProvisioningKeys } from '../lib/provisioning-keys/list.ts';
import { revokeProvisioningKey } from '../lib/provisioning-keys/revoke.ts';
import { changedKey, createdKey, listedKey, revokedKey } from '../lib/provisioning-keys/row.ts';
import { updateProvisioningKey } from '../lib/provisioning-keys/update.ts';

const path = '/api/v1/provisioning-keys';
const params = z.object({ id: rowUuid });

const create = endpoint({
  method: 'POST',
  path,
  summary: 'Issue a provisioning key',
  description:
    'Only this reply contains the key. A request that is repeated with the same `Idempotency-Key` and the same body gets the same reply.',
  auth: admin,
  body: createKeyBody,
  replies: { 201: { description: 'Issued', body: createdKey } },
  problems: [brokerNotFound, brokerInactive, brokerDraining],
  run: async (ctx, { body, headers }) => ({
    status: 201,
    body: await createProvisioningKey(ctx, body, idempotencyKey(headers['idempotency-key'])),
  }),
});

const list = endpoint({
  method: 'GET',
  path,
  summary: 'List provisioning keys',
  description: 'Of one fleet, or without `fleetId` of all. `next` is the link to the next page.',
  auth: admin,
  query: listKeysQuery,
  replies: {
    200: {
      description: 'Newest first',
      body: z.object({
        fleet_id: z.nullable(z.string()),
        count: z.int(),
        keys: z.array(listedKey),
        next: z.optional(z.string()),
      }),
    },
  },
  run: async (ctx, { query }) => {
    const { lastId, ...page } = await listProvisioningKeys(ctx, query);
    return { body: { ...page, ...nextLink(path, query, { after: lastId }) } };
  },
});

const get = endpoint({
  method: 'GET',
  path: `${path}/{id}`,
  summary: 'Get a provisioning key',
  description: 'Without the key itself.',
  auth: admin,
  params,
  replies: { 200: { description: 'The key', body: listedKey, headers: { ETag: 'For If-Match' } } },
  problems: [provisioningKeyNotFound],
  run: async (ctx, { params }) => {
    const { body, tag } = await getProvisioningKey(ctx, params.id);
    return { body, headers: { etag: quoted(tag) } };
  },
});

const update = endpoint({
  method: 'PUT',
  path: `${path}/{id}`,
  summary: 'Change a provisioning key',
  description:
    'At least one field is required. Another `default_broker_id` is for devices that register from now on, and for those that follow the key; devices that are assigned to a broker stay there. With `If-Match`, the change fails if an operator has changed the key since; the problem contains the key as `current`.',
  auth: admin,
  params,
  body: updateKeyBody,
  replies: { 200: { description: 'The changed key', body: changedKey, headers: { ETag: 'For If-Match' } } },
  problems: [
    nothingToUpdate,
    provisioningKeyNotFound,
    preconditionFailed,
    brokerNotFound,
    brokerInactive,
    brokerDraining,
  ],
  run: async (ctx, { params, body, headers }) => {
    const { body: reply, tag } = await updateProvisioningKey(ctx, params.id, body, tagsOf(headers['if-match']));
    return { body: reply, headers: { etag: quoted(tag) } };
  },
});

const revoke = endpoint({
  method: 'DELETE',
  path: `${path}/{id}`,
  summary: 'Revoke a provisioning key',
  description: 'With `If-Match`, it fails if an operator has changed the key since.',
  auth: admin,
  params,
  body: revokeKeyBody,
  replies: { 200: { description: 'Revoked, now or before', body: revokedKey } },
  problems: [provisioningKeyNotFound, preconditionFailed],
  run: async (ctx, { params, body, headers }) => ({
    body: await revokeProvisioningKey(ctx, params.id, body.reason, tagsOf(headers['if-match'])),
  }),
});

export const handler = routes(create, update, revoke);
/** Served by operator-reads.ts. */
export const reads = [list, get];
