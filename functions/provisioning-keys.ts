import * as z from 'zod/mini';
import { brokerNotFound, provisioningKeyNotFound } from '../lib/errors.ts';
import { rowUuid } from '../lib/fields.ts';
import { admin } from '../lib/http/admin.ts';
import { endpoint, routes } from '../lib/http/endpoint.ts';
import { nextLink } from '../lib/http/page.ts';
import { createProvisioningKey } from '../lib/provisioning-keys/create.ts';
import { createKeyBody, listKeysQuery, revokeKeyBody } from '../lib/provisioning-keys/input.ts';
import { listProvisioningKeys } from '../lib/provisioning-keys/list.ts';
import { revokeProvisioningKey } from '../lib/provisioning-keys/revoke.ts';
import { createdKey, listedKey, revokedKey } from '../lib/provisioning-keys/row.ts';

const path = '/api/v1/provisioning-keys';

const create = endpoint({
  method: 'POST',
  path,
  summary: 'Issue a provisioning key',
  description: 'Only this reply contains the key.',
  auth: admin,
  body: createKeyBody,
  replies: { 201: { description: 'Issued', body: createdKey } },
  problems: [brokerNotFound],
  run: async (ctx, { body }) => ({ status: 201, body: await createProvisioningKey(ctx, body) }),
});

const list = endpoint({
  method: 'GET',
  path,
  summary: 'List a fleet’s provisioning keys',
  auth: admin,
  query: listKeysQuery,
  replies: {
    200: {
      description: 'Newest first',
      body: z.object({ fleet_id: z.string(), count: z.int(), keys: z.array(listedKey), next: z.optional(z.string()) }),
    },
  },
  run: async (ctx, { query }) => {
    const { lastId, ...page } = await listProvisioningKeys(ctx, query);
    return { body: { ...page, ...nextLink(path, query, { after: lastId }) } };
  },
});

const revoke = endpoint({
  method: 'DELETE',
  path: `${path}/{id}`,
  summary: 'Revoke a provisioning key',
  auth: admin,
  params: z.object({ id: rowUuid }),
  body: revokeKeyBody,
  replies: { 200: { description: 'Revoked, now or before', body: revokedKey } },
  problems: [provisioningKeyNotFound],
  run: async (ctx, { params, body }) => ({ body: await revokeProvisioningKey(ctx, params.id, body.reason) }),
});

export const handler = routes(create, list, revoke);
