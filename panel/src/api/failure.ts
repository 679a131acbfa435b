/** An error of one field: `path` is its name in the request, `a.b` for a nested one. */
export type FieldError = { path: string; message: string };

type Body = Record<string, unknown>;

/**
 * Why a request has no result.
 *
 * `problem`: Berth, or the gateway before it, refused. `no-reply`: no reply arrived in time, or one that does not say what happened;
 * a request that changes something may have done so.
 */
export class Failure extends Error {
  readonly kind: 'problem' | 'no-reply';
  /** HTTP status; 0: there was no reply. */
  readonly status: number;
  /** Of lib/errors.ts. `http-503` for a reply that is not of Berth, `no-reply` without a reply. Switch on it. */
  readonly code: string;
  readonly title: string;
  readonly requestId: string | undefined;
  readonly errors: FieldError[];
  readonly retryAfterSeconds: number | undefined;
  /** Everything else of the problem, such as `devices_affected`. */
  readonly body: Body;

  constructor(facts: Pick<Failure, 'kind' | 'status' | 'code' | 'title'> & { detail: string } & Partial<Failure>) {
    super(facts.detail);
    this.kind = facts.kind;
    this.status = facts.status;
    this.code = facts.code;
    this.title = facts.title;
    this.requestId = facts.requestId;
    this.errors = facts.errors ?? [];
    this.retryAfterSeconds = facts.retryAfterSeconds;
    this.body = facts.body ?? {};
  }

  /** What the caller can do. */
  get detail(): string {
    return this.message;
  }
}

/** @param changes whether the request would have changed something */
export function noReply(changes: boolean, why: string): Failure {
  const detail = changes
    ? `${why} It is not known whether the change was made.`
    : `${why} Check your connection, and whether Berth runs.`;
  return new Failure({ kind: 'no-reply', status: 0, code: 'no-reply', title: 'No reply', detail });
}

/** The failure of a reply with a status of 400 or more. */
export function failureOf(reply: { status: number; headers: Headers }, body: unknown, changes: boolean): Failure {
  const problem = (typeof body === 'object' && body !== null ? body : {}) as Body;
  const { status, headers } = reply;
  const requestId =
    textOf(problem.requestId) ?? headers.get('x-request-id') ?? headers.get('apigw-requestid') ?? undefined;
  const retryAfterSeconds = secondsOf(headers.get('retry-after'));
  const code = textOf(problem.code);
  if (code !== undefined) {
    return new Failure({
      ...{ kind: 'problem', status, code, requestId, retryAfterSeconds, body: problem },
      title: textOf(problem.title) ?? `Status ${status}`,
      detail: textOf(problem.detail) ?? '',
      errors: (Array.isArray(problem.errors) ? problem.errors : []) as FieldError[],
    });
  }
  // Of the gateway. A 5xx says nothing about what the function did.
  const isUnknown = changes && status >= 500;
  return new Failure({
    kind: isUnknown ? 'no-reply' : 'problem',
    ...{ status, code: `http-${status}`, requestId, retryAfterSeconds, body: problem },
    title: TITLES[status] ?? `Status ${status}`,
    detail: `${adviceOf(status)}${isUnknown ? ' It is not known whether the change was made.' : ''}`,
  });
}

const TITLES: Record<number, string> = {
  401: 'Not signed in',
  403: 'Not allowed',
  404: 'Not found',
  413: 'Too large',
  429: 'Too many requests',
  500: 'Berth failed',
  502: 'Berth failed',
  503: 'Berth is not available',
  504: 'Berth did not answer in time',
};

function adviceOf(status: number): string {
  if (status === 429) return 'The gateway refuses more requests for now. Wait, then repeat.';
  if (status === 401 || status === 403) return 'The gateway refuses this credential. Sign in again.';
  if (status >= 500) return 'The gateway got no reply from Berth. Wait a few seconds.';
  return 'The gateway refused the request.';
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

function secondsOf(header: string | null): number | undefined {
  const seconds = Number(header);
  return header !== null && Number.isFinite(seconds) && seconds >= 0 ? seconds : undefined;
}
