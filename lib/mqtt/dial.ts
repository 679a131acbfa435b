import { X509Certificate } from 'node:crypto';
import type { LookupAddress } from 'node:dns';
import { lookup } from 'node:dns/promises';
import { connect, isIP, type Socket } from 'node:net';
import tls from 'node:tls';
import { withDeadline } from '../deadline.ts';
import { isForbiddenAddress } from './address.ts';
import { nameOf } from './certificates.ts';

/** A stage failed. `code` is of Node or OpenSSL, or `ADDRESS_NOT_ALLOWED`, `TIMED_OUT`, `CLOSED`, `UNKNOWN`. */
export class DialError extends Error {
  readonly stage: 'dns' | 'tcp' | 'tls';
  readonly code: string;
  constructor(stage: DialError['stage'], code: string) {
    super(`${stage}: ${code}`);
    this.stage = stage;
    this.code = code;
  }
}

/** The server's side of a TLS handshake. */
export type TlsFacts = {
  version: string | null;
  subject: string;
  issuer: string;
  expiresAt: string | null;
  /** Whether the certificate matches the host and a trusted CA signed it. If not, `problem` is Node's code. */
  verified: boolean;
  problem: string | undefined;
  /** Subjects, starting with the server's certificate, as far as they are known. */
  chain: string[];
};

const DNS_MS = 2_000;
const TCP_MS = 3_000;
const TLS_MS = 3_000;
const MAX_ADDRESSES = 4;

/**
 * Resolves a host. The caller must connect to these addresses and not resolve again, because a second lookup could return
 * a forbidden address (DNS rebinding).
 *
 * @throws DialError `ADDRESS_NOT_ALLOWED` when one of them is forbidden
 */
export async function resolveHost(host: string, isLocalStack: boolean, deadline: number): Promise<string[]> {
  let found: LookupAddress[];
  try {
    found = await withDeadline(lookup(host, { all: true }), limit(deadline, DNS_MS), timedOut);
  } catch (error) {
    throw new DialError('dns', codeOf(error));
  }
  if (found.some(({ address }) => isForbiddenAddress(address, isLocalStack))) {
    throw new DialError('dns', 'ADDRESS_NOT_ALLOWED');
  }
  return found.map(({ address }) => address).slice(0, MAX_ADDRESSES);
}

/**
 * Connects to the first address that accepts.
 * @throws DialError of the last address
 */
export async function connectTcp(addresses: string[], port: number, deadline: number): Promise<Socket> {
  const end = Date.now() + limit(deadline, TCP_MS);
  let last: unknown;
  for (const [index, address] of addresses.entries()) {
    // An equal share of the remaining time, so that an address that does not answer leaves time for the others.
    const shareMs = (end - Date.now()) / (addresses.length - index);
    const socket = connect({ host: address, port });
    try {
      await opened(socket, 'connect', shareMs);
      return socket;
    } catch (error) {
      socket.destroy();
      last = error;
    }
  }
  throw new DialError('tcp', codeOf(last));
}

export type TlsOptions = {
  host: string;
  ca: string | undefined;
  cert: string | undefined;
  key: string | undefined;
};

/**
 * The TLS handshake, with SNI. An untrusted certificate does not fail it, so that it can be reported. On `verified: false`
 * the caller must close the socket without sending anything, except when verification is switched off.
 *
 * @throws DialError when the handshake fails
 */
export async function startTls(
  socket: Socket,
  { host, ca, cert, key }: TlsOptions,
  deadline: number,
): Promise<{ socket: tls.TLSSocket; facts: TlsFacts }> {
  try {
    const secure = tls.connect({
      socket,
      host,
      ...(isIP(host) ? {} : { servername: host }),
      ...(ca ? { ca } : {}),
      ...(cert && key ? { cert, key } : {}),
      rejectUnauthorized: false,
    });
    await opened(secure, 'secureConnect', limit(deadline, TLS_MS));
    return { socket: secure, facts: factsOf(secure) };
  } catch (error) {
    socket.destroy();
    throw new DialError('tls', codeOf(error));
  }
}

function factsOf(socket: tls.TLSSocket): TlsFacts {
  const chain = chainOf(socket);
  const [leaf] = chain;
  return {
    version: socket.getProtocol(),
    subject: nameOf(leaf?.subject),
    issuer: nameOf(leaf?.issuer),
    expiresAt: leaf?.validToDate.toISOString() ?? null,
    verified: socket.authorized,
    // Typed as an Error, but it is the code.
    problem: socket.authorizationError ? String(socket.authorizationError) : undefined,
    // Ends with the issuer of the last certificate, even if the server did not send it: this is the CA to trust.
    chain: [...new Set([...chain.map(({ subject }) => nameOf(subject)), nameOf(chain.at(-1)?.issuer)])],
  };
}

/** Call it once: Node 24 returns no peer certificate after getPeerX509Certificate(). */
function chainOf(socket: tls.TLSSocket): X509Certificate[] {
  const chain = new Map<string, X509Certificate>();
  let one: tls.DetailedPeerCertificate | undefined = socket.getPeerCertificate(true);
  // A root certificate is its own issuer.
  while (one?.raw && !chain.has(one.fingerprint256)) {
    chain.set(one.fingerprint256, new X509Certificate(one.raw));
    one = one.issuerCertificate;
  }
  return [...chain.values()];
}

function limit(deadline: number, maxMs: number): number {
  return Math.max(1, Math.min(maxMs, deadline - Date.now()));
}

function timedOut(): Error {
  return Object.assign(new Error('timed out'), { code: 'TIMED_OUT' });
}

/** Waits for the event. Throws on an error, a close or the timeout. */
async function opened(socket: Socket, event: 'connect' | 'secureConnect', timeoutMs: number): Promise<void> {
  // Stays after the wait, because an error without a listener ends the process.
  socket.on('error', () => {});
  await withDeadline(
    new Promise<void>((resolve, reject) => {
      socket.once(event, () => resolve());
      socket.once('error', reject);
      socket.once('close', () => reject(Object.assign(new Error('closed'), { code: 'CLOSED' })));
    }),
    timeoutMs,
    timedOut,
  );
}

function codeOf(error: unknown): string {
  return String((error as { code?: unknown } | undefined)?.code ?? 'UNKNOWN');
}
