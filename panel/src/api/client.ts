import { Failure, failureOf, noReply } from './failure.ts';

/** Relative to the origin: `/api/v1/devices`. `body` is sent as JSON. */
export type Request = {
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  path: string;
  body?: object | undefined;
  /** The tag that a former reply had, with its quotes. The change fails with 412 if the row has changed since. */
  ifMatch?: string | undefined;
  /** With it, a repeat of a POST is the same order. */
  idempotencyKey?: string | undefined;
};
export type Reply<T> = { status: number; data: T; etag: string | undefined };

/** Longer than the gateway waits for a function (30 s). */
const TIMEOUT_MS = 35_000;

let credential: string | undefined;
let onUnauthorised = () => {};

/** What every request sends from now on; undefined: nothing, because the gateway knows the operator by a cookie or a certificate. */
export function setCredential(token: string | undefined): void {
  credential = token;
}

/** Called when a reply says that the credential is not, or no longer, valid. */
export function whenUnauthorised(listener: () => void): void {
  onUnauthorised = listener;
}

/**
 * @throws Failure
 * @throws the reason of `signal` when it is aborted
 */
export async function send<T>(request: Request, signal?: AbortSignal): Promise<Reply<T>> {
  const reply = await fetchReply(request, {}, signal);
  return { status: reply.status, data: reply.body as T, etag: reply.headers.get('etag') ?? undefined };
}

/**
 * GET.
 * @param etag of the former reply; with it the result is undefined if nothing has changed
 * @throws Failure, and the reason of `signal` when it is aborted
 */
export async function get<T>(path: string, etag?: string, signal?: AbortSignal): Promise<Reply<T> | undefined> {
  const headers: Record<string, string> = etag ? { 'if-none-match': etag } : {};
  const reply = await fetchReply({ method: 'GET', path }, headers, signal);
  if (reply.status === 304) return undefined;
  return { status: reply.status, data: reply.body as T, etag: reply.headers.get('etag') ?? undefined };
}

/** GET of a text such as CSV. `next`: the link to the next page, from the header `Link`. */
export async function getText(
  path: string,
  accept: string,
  signal?: AbortSignal,
): Promise<{ text: string; next: string | undefined }> {
  const { body, headers } = await fetchReply({ method: 'GET', path }, { accept }, signal);
  return {
    text: typeof body === 'string' ? body : JSON.stringify(body),
    next: /<([^>]*)>; rel="next"/.exec(headers.get('link') ?? '')?.[1],
  };
}

async function fetchReply(
  { method, path, body, ifMatch, idempotencyKey }: Request,
  more: Record<string, string>,
  signal?: AbortSignal,
): Promise<{ status: number; headers: Headers; body: unknown }> {
  const changes = method !== 'GET';
  const timeout = AbortSignal.timeout(TIMEOUT_MS);
  try {
    const response = await fetch(path, {
      method,
      signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
      cache: 'no-store',
      headers: {
        ...(credential ? { authorization: `Bearer ${credential}` } : {}),
        ...(body ? { 'content-type': 'application/json' } : {}),
        ...(ifMatch ? { 'if-match': ifMatch } : {}),
        ...(idempotencyKey ? { 'idempotency-key': idempotencyKey } : {}),
        ...more,
      },
      ...(body ? { body: JSON.stringify(body) } : {}),
    });
    const parsed = parsedOf(await response.text());
    if (response.status === 401) onUnauthorised();
    if (response.status >= 400) throw failureOf(response, parsed, changes);
    return { status: response.status, headers: response.headers, body: parsed };
  } catch (error) {
    if (error instanceof Failure) throw error;
    if (signal?.aborted) throw signal.reason;
    throw noReply(changes, timeout.aborted ? 'Berth did not answer in time.' : 'No reply from Berth arrived.');
  }
}

function parsedOf(text: string): unknown {
  try {
    return text === '' ? undefined : JSON.parse(text);
  } catch {
    return text;
  }
}
