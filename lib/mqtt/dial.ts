import { X509Certificate } from 'node:crypto';
import type { LookupAddress } from 'node:dns';
import { lookup } from 'node:dns/promises';
import { connect, isIP, type Socket } from 'node:net';
import tls from 'node:tls';
import { isForbiddenAddress } from './address.ts';
import { nameOf } from './certificates.ts';

/** A stage that failed; `code` is Node's or OpenSSL's, or one of ours in capitals. */
export class DialError extends Error {
  readonly stage: 'dns' | 'tcp' | 'tls';
  readonly code: string;
  constructor(stage: DialError['stage'], code: string) {
    super(`${stage}: ${code}`);
    this.stage = stage;
    this.code = code;
  }
}

/** What a TLS handshake showed of the server. */
export type TlsFacts = {
  version: string | null;
  subject: string;
  issuer: string;
  expiresAt: string | null;
  /** Whether the certificate is right for the host by the CAs; `problem` is Node's code why not. */
  verified: boolean;
  problem: string | undefined;
  /** Subjects from the server's certificate up, as far as they are known. */
  chain: string[];
};

const DNS_MS = 2_000;
const TCP_MS = 3_000;
const TLS_MS = 3_000;
const MAX_ADDRESSES = 4;

/**
 * Resolves a host once. What is connected to afterwards are these addresses, so that a name which
 * resolves differently the second time leads nowhere else.
 *
 * @throws DialError `ADDRESS_NOT_ALLOWED` when any of them is one where no broker may be
 */
export async function resolveHost(host: string, isLocalStack: boolean, deadline: number): Promise<string[]> {
  let found: LookupAddress[];
  try {
    found = await within(lookup(host, { all: true }), limit(deadline, DNS_MS));
  } catch (error) {
    throw new DialError('dns', codeOf(error));
  }
  if (found.some(({ address }) => isForbiddenAddress(address, isLocalStack))) {
    throw new DialError('dns', 'ADDRESS_NOT_ALLOWED');
  }
  return found.map(({ address }) => address).slice(0, MAX_ADDRESSES);
}

/** Connects to the first of the addresses that answers; else throws what the last one said. */
export async function connectTcp(addresses: string[], port: number, deadline: number): Promise<Socket> {
  const end = Date.now() + limit(deadline, TCP_MS);
  let last: unknown;
  for (const [index, address] of addresses.entries()) {
    // An equal share of what is left, so that one black hole doesn't use up the others' time.
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
 * The TLS handshake, with SNI. It is completed whatever the certificate, so that it can be reported; the
 * caller must hang up on `verified: false` before anything is sent, unless verifying is switched off.
 *
 * @throws DialError when there is no handshake
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
    // Typed as an Error; it is the code.
    problem: socket.authorizationError ? String(socket.authorizationError) : undefined,
    // Whoever signed the last is named, present or not: that is the CA to look for.
    chain: [...new Set([...chain.map(({ subject }) => nameOf(subject)), nameOf(chain.at(-1)?.issuer)])],
  };
}

/** Read once: after getPeerX509Certificate() Node 24 has no peer certificate any more. */
function chainOf(socket: tls.TLSSocket): X509Certificate[] {
  const chain = new Map<string, X509Certificate>();
  let one: tls.DetailedPeerCertificate | undefined = socket.getPeerCertificate(true);
  // A root is its own issuer.
  while (one?.raw && !chain.has(one.fingerprint256)) {
    chain.set(one.fingerprint256, new X509Certificate(one.raw));
    one = one.issuerCertificate;
  }
  return [...chain.values()];
}

function limit(deadline: number, mostMs: number): number {
  return Math.max(1, Math.min(mostMs, deadline - Date.now()));
}

/** Waits for the event, or throws what comes instead: an error, a close, or the end of the time. */
async function opened(socket: Socket, event: 'connect' | 'secureConnect', timeoutMs: number): Promise<void> {
  // For what comes after this wait, too: without a listener an error ends the process.
  socket.on('error', () => {});
  await within(
    new Promise<void>((resolve, reject) => {
      socket.once(event, () => resolve());
      socket.once('error', reject);
      socket.once('close', () => reject(Object.assign(new Error('closed'), { code: 'CLOSED' })));
    }),
    timeoutMs,
  );
}

async function within<T>(running: Promise<T>, timeoutMs: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(Object.assign(new Error('too late'), { code: 'TIMED_OUT' })), timeoutMs);
  });
  try {
    return await Promise.race([running, late]);
  } finally {
    clearTimeout(timer);
  }
}

function codeOf(error: unknown): string {
  return String((error as { code?: unknown } | undefined)?.code ?? 'UNKNOWN');
}
