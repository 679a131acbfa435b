import { randomUUID } from 'node:crypto';
import type { APIGatewayProxyEventV2, APIGatewayProxyStructuredResultV2, Context as LambdaContext } from 'aws-lambda';
import { loadRoutes, type Route } from '../../docs/endpoints.ts';

export type Call = {
  headers?: Record<string, string>;
  /** An object is sent as JSON; a string is sent unchanged. */
  body?: unknown;
  query?: Record<string, string>;
  ip?: string;
  base64?: boolean;
  remainingMs?: number;
  /** The context that the gateway's authorizer returned. */
  authorizer?: object;
};

// biome-ignore lint/suspicious/noExplicitAny: replies are checked member by member
export type Answer = { status: number; headers: Record<string, string>; body: any; text: string };

let routes: Promise<Route[]> | undefined;

/** Loads every function, so that the first call is not slower than the next. */
export function loadAll(): Promise<Route[]> {
  routes ??= loadRoutes();
  return routes;
}

/** Calls the handler behind `POST /api/v1/…` as API Gateway would (HTTP API, payload 2.0). */
export async function call(target: string, options: Call = {}): Promise<Answer> {
  const { route, event } = await eventFor(target, options);
  return answerOf(await route.handler(event, lambdaContext(options.remainingMs)));
}

/** A handler's result as a client sees it; `body` is the parsed JSON. */
export function answerOf(reply: APIGatewayProxyStructuredResultV2): Answer {
  const text = reply.isBase64Encoded ? Buffer.from(reply.body ?? '', 'base64').toString() : (reply.body ?? '');
  return {
    status: reply.statusCode ?? 200,
    headers: (reply.headers ?? {}) as Record<string, string>,
    text,
    body: isJson(reply.headers?.['content-type']) && text !== '' ? JSON.parse(text) : undefined,
  };
}

/** Also `application/problem+json`. */
const isJson = (type: unknown) => /^application\/(.*\+)?json\b/.test(String(type));

/** The event that API Gateway would create for the call, and its route. */
export async function eventFor(
  target: string,
  options: Call = {},
): Promise<{ route: Route; event: APIGatewayProxyEventV2 }> {
  const [method = '', path = ''] = target.split(' ');
  const match = findRoute(await loadAll(), method, path);
  if (!match) throw new Error(`no route for ${target}`);
  return { route: match.route, event: eventOf(method, path, match, options) };
}

type Match = { route: Route; params: Record<string, string> };

function findRoute(all: Route[], method: string, path: string): Match | undefined {
  const candidates = all.filter(({ endpoint }) => endpoint.spec.method === method);
  // As at the gateway, a literal path wins over one with parameters, and this over one for the rest of the path.
  const rank = (path: string) => path.split('{').length + (path.includes('+}') ? 10 : 0);
  candidates.sort((a, b) => rank(a.endpoint.spec.path) - rank(b.endpoint.spec.path));
  for (const route of candidates) {
    const pattern = route.endpoint.spec.path.replace(/\{(\w+)\+\}/, '(?<$1>.+)').replace(/\{(\w+)\}/g, '(?<$1>[^/]+)');
    const found = new RegExp(`^${pattern}$`).exec(path);
    if (found) {
      const params = Object.entries(found.groups ?? {}).map(([name, value]) => [name, decodeURIComponent(value)]);
      return { route, params: Object.fromEntries(params) };
    }
  }
  return undefined;
}

function eventOf(method: string, path: string, { route, params }: Match, options: Call): APIGatewayProxyEventV2 {
  const { body, headers = {}, base64 = false } = options;
  const text = body === undefined || typeof body === 'string' ? (body as string | undefined) : JSON.stringify(body);
  const lowerCase = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
  const sourceIp = options.ip ?? '198.51.100.7';
  return {
    version: '2.0',
    routeKey: `${method} ${route.endpoint.spec.path}`,
    rawPath: path,
    rawQueryString: new URLSearchParams(options.query).toString(),
    headers: lowerCase,
    ...(options.query ? { queryStringParameters: options.query } : {}),
    ...(Object.keys(params).length > 0 ? { pathParameters: params } : {}),
    requestContext: {
      requestId: randomUUID(),
      http: { method, path, protocol: 'HTTP/1.1', sourceIp, userAgent: 'test' },
      ...(options.authorizer ? { authorizer: options.authorizer } : {}),
    },
    ...(text === undefined ? {} : { body: base64 ? Buffer.from(text).toString('base64') : text }),
    isBase64Encoded: base64,
  } as unknown as APIGatewayProxyEventV2;
}

export function lambdaContext(remainingMs = 10_000): LambdaContext {
  const end = Date.now() + remainingMs;
  return { awsRequestId: randomUUID(), getRemainingTimeInMillis: () => end - Date.now() } as unknown as LambdaContext;
}
