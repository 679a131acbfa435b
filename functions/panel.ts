import * as z from 'zod/mini';
import { Problem, routeNotFound } from '../lib/errors.ts';
import { anyone } from '../lib/http/auth.ts';
import { endpoint, type Reply, routes } from '../lib/http/endpoint.ts';
import { represent } from '../lib/http/representation.ts';
import { describePanel } from '../lib/panel/describe.ts';
import { openApiDocument, panelAsset, panelPage } from '../lib/panel/files.ts';
import { securityHeaders as headers, pagePolicy } from '../lib/panel/security-headers.ts';

/** The client asks each time whether it has the current version. */
const ASK = 'no-cache';
/** The name changes with the content. */
const FOREVER = 'public, max-age=31536000, immutable';
const auth = anyone;
const replies = { 200: { description: 'The file' }, 304: { description: 'The client has it' } };

const openApi = endpoint({
  method: 'GET',
  path: '/api/v1/openapi.json',
  summary: 'This description of the API',
  auth,
  headers,
  replies: {
    200: { description: 'OpenAPI 3.1', body: z.looseObject({}), headers: { ETag: 'For If-None-Match' } },
    304: { description: 'The client has it' },
  },
  run: async (_ctx, { headers: asked }) => represent(await openApiDocument(), asked, ASK),
});

const settings = endpoint({
  method: 'GET',
  path: '/panel-settings.json',
  summary: 'How the panel signs in',
  auth,
  headers,
  replies,
  run: async (_ctx, { headers: asked }) => ({ body: describePanel(asked.host) }),
});

const home = endpoint({
  method: 'GET',
  path: '/',
  summary: 'The page of the panel',
  auth,
  headers,
  replies,
  run: async (_ctx, { headers: asked }) => page(asked),
});

const others = endpoint({
  method: 'GET',
  path: '/{path+}',
  summary: 'A file of the panel, or its page, which decides what to show',
  auth,
  headers,
  params: z.object({ path: z.string() }),
  replies,
  problems: [routeNotFound],
  run: async (_ctx, { params: { path }, headers: asked }) => {
    if (/^\/*api(\/|$)/.test(path)) throw new Problem(routeNotFound);
    return path.startsWith('assets/') ? represent(await panelAsset(`/${path}`), asked, FOREVER) : page(asked);
  },
});

export const handler = routes(openApi, settings, home, others);

async function page(asked: Readonly<Record<string, string | undefined>>): Promise<Reply> {
  const reply = represent(await panelPage(), asked, ASK);
  return { ...reply, headers: { ...reply.headers, 'content-security-policy': pagePolicy() } };
}
