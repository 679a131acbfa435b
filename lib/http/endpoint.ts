import { isIP } from 'node:net';
import type { APIGatewayProxyEventV2, APIGatewayProxyStructuredResultV2, Context as LambdaContext } from 'aws-lambda';
import type * as z from 'zod/mini';
import type { Context } from '../context.ts';
import { type FieldError, invalidRequest, missingFields, Problem, type ProblemType, routeNotFound } from '../errors.ts';
import { log } from '../log.ts';
import { loadSecrets } from '../settings/secret-store.ts';
import { settings } from '../settings/settings.ts';
import { type Auth, credentialOf, type Scope } from './auth.ts';
import { parseBody } from './body.ts';
import { renderProblem } from './problem.ts';

type Schema = z.ZodMiniType;
type Output<S extends Schema | undefined> = S extends Schema ? z.output<S> : undefined;

/** What `run` returns. */
export type Reply = {
  /** Default 200. */
  status?: number;
  headers?: Record<string, string>;
  /** Sent as JSON. */
  body?: object;
  /** A body of another type; default text/plain. */
  text?: string;
  /** A body of bytes. `headers` name its type. */
  bytes?: Uint8Array;
};

export type Spec<
  P extends Schema | undefined = Schema | undefined,
  Q extends Schema | undefined = Schema | undefined,
  B extends Schema | undefined = Schema | undefined,
> = {
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** `/api/v1/…`. Others are pages and files of the panel: OpenAPI does not list them. */
  path: `/${string}`;
  summary: string;
  description?: string;
  auth: Auth;
  params?: P;
  query?: Q;
  body?: B;
  /** Reply headers and body by status, for OpenAPI. */
  replies: Record<
    number,
    {
      description: string;
      body?: Schema;
      /** The type of a body that is not JSON: `text/csv`. */
      text?: string;
      headers?: Record<string, string>;
    }
  >;
  /** What `run` raises. Problems of the credential, the body and the database follow from the spec. */
  problems?: readonly ProblemType[];
  /** The problem of a body that lacks a required field; default `missing-fields`. */
  missing?: ProblemType;
  /** The first members of every problem of this route: broker routes keep `success: false` of the legacy service. */
  envelope?: object;
  /** Headers of every reply, problems included. */
  headers?: Readonly<Record<string, string>>;
  /** Limit of the body; default 16 KB. */
  maxBodyBytes?: number;
  /** Limit of the time that a request takes; default 5 s. */
  budgetMs?: number;
  run: (ctx: Context, input: Input<P, Q, B>) => Promise<Reply>;
};

export type Input<P extends Schema | undefined, Q extends Schema | undefined, B extends Schema | undefined> = {
  params: Output<P>;
  query: Output<Q>;
  body: Output<B>;
  /** The key as sent. Undefined when none was sent, and on routes with `authorise`. */
  credential: string | undefined;
  /** What the credential of an operator may do. Undefined on other routes. */
  scopes: readonly Scope[] | undefined;
  headers: Readonly<Record<string, string | undefined>>;
};

export type Handler = (
  event: APIGatewayProxyEventV2,
  context: LambdaContext,
) => Promise<APIGatewayProxyStructuredResultV2>;
export type Endpoint = Handler & { spec: Spec };

/** Lambda time reserved for sending the reply. */
const RESERVE_MS = 1_500;
/** Clients give up soon after this. */
const BUDGET_MS = 5_000;

/**
 * A route as a Lambda handler: authorise → parse → run → render, with its spec attached for OpenAPI. Everything thrown
 * becomes a problem+json reply.
 */
export function endpoint<
  P extends Schema | undefined = undefined,
  Q extends Schema | undefined = undefined,
  B extends Schema | undefined = undefined,
>(spec: Spec<P, Q, B>): Endpoint {
  const handler: Handler = async (event, lambdaContext) => {
    const started = Date.now();
    const ctx = contextOf(lambdaContext, spec.budgetMs);
    const reply = await answer(spec as unknown as Spec, ctx, event).catch((error) =>
      renderProblem(error, ctx.requestId, spec.envelope),
    );
    log.info('request', {
      requestId: ctx.requestId,
      route: `${spec.method} ${spec.path}`,
      status: reply.statusCode,
      ms: Date.now() - started,
    });
    return spec.headers ? { ...reply, headers: { ...spec.headers, ...reply.headers } } : reply;
  };
  return Object.assign(handler, { spec: spec as unknown as Spec });
}

/** Several routes as one Lambda handler. The route key of the gateway (`POST /api/v1/…`) selects the route. */
export function routes(...endpoints: Endpoint[]): Handler & { endpoints: Endpoint[] } {
  const byKey = new Map(endpoints.map((one) => [`${one.spec.method} ${one.spec.path}`, one]));
  const handler: Handler = async (event, context) => {
    const found = byKey.get(event.routeKey);
    if (!found) return renderProblem(new Problem(routeNotFound), context.awsRequestId);
    return found(event, context);
  };
  return Object.assign(handler, { endpoints });
}

async function answer(
  spec: Spec,
  ctx: Context,
  event: APIGatewayProxyEventV2,
): Promise<APIGatewayProxyStructuredResultV2> {
  await loadSecrets(ctx.deadline);
  ctx.sourceIp = addressOf(event);
  const { name, authorise, header } = spec.auth;
  const caller = await authorise?.(event, spec.method === 'GET' ? 'read' : 'write');
  if (caller) ctx.actor = caller.actor;
  const input = {
    params: parse(spec.params, event.pathParameters ?? {}),
    query: parse(spec.query, event.queryStringParameters ?? {}),
    body: spec.body && parse(spec.body, parseBody(event, spec.maxBodyBytes) ?? {}, spec.missing ?? missingFields),
    // A proxy in front may have its own `Authorization`, in any scheme.
    credential: authorise || name === 'anyone' ? undefined : credentialOf(event, header),
    scopes: caller?.scopes,
    headers: event.headers,
  };
  const { status = 200, headers = {}, body, text, bytes } = await spec.run(ctx, input);
  return {
    statusCode: status,
    headers: {
      ...(body ? { 'content-type': 'application/json' } : {}),
      ...(text === undefined ? {} : { 'content-type': 'text/plain' }),
      'cache-control': 'no-store',
      'x-request-id': ctx.requestId,
      ...headers,
    },
    ...(body || text !== undefined ? { body: text ?? JSON.stringify(body) } : {}),
    ...(bytes ? { body: Buffer.from(bytes).toString('base64'), isBase64Encoded: true } : {}),
  };
}

function contextOf(lambdaContext: LambdaContext, budgetMs = BUDGET_MS): Context {
  const remainingMs = lambdaContext.getRemainingTimeInMillis();
  return {
    requestId: lambdaContext.awsRequestId,
    sourceIp: '',
    actor: 'device',
    deadline: Date.now() + Math.min(remainingMs - RESERVE_MS, budgetMs),
  };
}

/** The address of the caller: the gateway's, or that of the header which only a trusted proxy knows. */
function addressOf({ headers, requestContext }: APIGatewayProxyEventV2): string {
  const { clientAddressHeader } = settings();
  const named = clientAddressHeader && headers[clientAddressHeader];
  return named && isIP(named) ? named : requestContext.http.sourceIp;
}

/** Validates `value`. The problem names every invalid field and what it may be. */
function parse(schema: Schema | undefined, value: unknown, ifMissing: ProblemType = invalidRequest): unknown {
  if (!schema) return undefined;
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const errors = result.error.issues.flatMap((issue) => fieldErrors(issue, value));
  const missing = errors.some(({ message }) => message === REQUIRED);
  throw new Problem(
    missing ? ifMissing : invalidRequest,
    errors.map(({ path, message }) => `${path || 'The body'} ${message}`).join('; '),
    { errors },
  );
}

const REQUIRED = 'is required';
const KINDS: Record<string, string> = {
  string: 'a string',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  object: 'an object',
  array: 'an array',
};

function fieldErrors(issue: z.core.$ZodIssue, root: unknown): FieldError[] {
  const path = issue.path.join('.');
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => ({ path: path ? `${path}.${key}` : key, message: 'is not a known field' }));
  }
  const value = valueAt(root, issue.path);
  // Null and empty count as missing, as in the legacy service.
  const empty = issue.code === 'too_small' && value === '';
  if (path && ((value ?? undefined) === undefined || empty)) return [{ path, message: REQUIRED }];
  if (issue.code !== 'invalid_type') return [{ path, message: issue.message }];
  return [{ path, message: `must be ${KINDS[issue.expected] ?? issue.expected}` }];
}

function valueAt(root: unknown, path: PropertyKey[]): unknown {
  return path.reduce<unknown>((value, key) => (value as Record<PropertyKey, unknown> | undefined)?.[key], root);
}
