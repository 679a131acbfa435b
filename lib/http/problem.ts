import type { APIGatewayProxyStructuredResultV2 } from 'aws-lambda';
import { internal, invalidRequest, Problem } from '../errors.ts';
import { log } from '../log.ts';
import { SettingsError } from '../settings/settings.ts';

type PostgresError = { code: string; constraint_name?: string };

/** The problem of a thrown value. Errors of Postgres are recognised by SQLSTATE, never by their text. */
function toProblem(error: unknown): Problem {
  if (error instanceof Problem) return error;
  const { code } = (error ?? {}) as Partial<PostgresError>;
  if (typeof code === 'string' && /^22...$/.test(code)) {
    return new Problem(invalidRequest, 'A value is too long or cannot be stored.', { cause: error });
  }
  return new Problem(internal, 'An unexpected error occurred. Report the requestId.', { cause: error });
}

/** The reply of a problem: RFC 9457 plus `error` and `message` of the legacy service. */
export function renderProblem(
  error: unknown,
  requestId: string,
  envelope: object = {},
): APIGatewayProxyStructuredResultV2 {
  const problem = toProblem(error);
  const { title } = problem;
  if (problem.code === 'internal') logUnexpected(problem.cause, requestId);
  if (problem.operatorHelp) log.warn(problem.title, { requestId, code: problem.code, help: problem.operatorHelp });
  const body = {
    ...envelope,
    type: `urn:berth:problem:${problem.code}`,
    title,
    status: problem.status,
    detail: problem.message,
    code: problem.code,
    requestId,
    ...(problem.errors ? { errors: problem.errors } : {}),
    ...problem.extra,
    error: title,
    message: problem.message,
  };
  return {
    statusCode: problem.status,
    headers: {
      'content-type': 'application/problem+json',
      'cache-control': 'no-store',
      'x-request-id': requestId,
      ...(problem.status === 401 ? { 'www-authenticate': 'Bearer' } : {}),
      ...(problem.retryAfterSeconds === undefined ? {} : { 'retry-after': String(problem.retryAfterSeconds) }),
    },
    body: JSON.stringify(body),
  };
}

/** Logs name, SQLSTATE and stack, but not the message, because messages of Postgres contain values. */
function logUnexpected(cause: unknown, requestId: string): void {
  if (cause instanceof SettingsError) {
    log.critical('not configured', { requestId, reason: cause.message });
    return;
  }
  const { name, code, constraint_name, stack } = (cause ?? {}) as Error & Partial<PostgresError>;
  const frames = stack?.split('\n').filter((line) => line.trimStart().startsWith('at '));
  log.error('unexpected failure', { requestId, name, code, constraint: constraint_name, stack: frames });
}
