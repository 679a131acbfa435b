import { spawn } from 'node:child_process';
import { connect, createServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import tls, { type TlsOptions } from 'node:tls';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { connectTcp, resolveHost, startTls } from '../../lib/mqtt/dial.ts';
import { type Authority, createAuthority, type Pair } from '../support/certificates.ts';
import { type Served, serve } from '../support/serve.ts';

/** The stages before the CONNECT, against real sockets of this machine. */
const closing: Served[] = [];
afterEach(async () => {
  for (const one of closing.splice(0)) await one.close();
});
const started = async (server: Parameters<typeof serve>[0]) => {
  const served = await serve(server);
  closing.push(served);
  return served;
};
const later = (ms = 5_000) => Date.now() + ms;

describe('the name', () => {
  it('of the local stack may be localhost', async () => {
    const addresses = await resolveHost('localhost', true, later());
    expect(addresses).toContain('127.0.0.1');
  });

  it('that does not exist is a DialError with its code', async () => {
    const code = expect.stringMatching(/^(ENOTFOUND|EAI_AGAIN)$/);
    await expect(resolveHost('nowhere.invalid', false, later())).rejects.toMatchObject({ stage: 'dns', code });
  });
});

describe('the connection', () => {
  it('is that of the first address that accepts', async () => {
    const { port, open } = await started(createServer());
    const socket = await connectTcp(['127.0.0.2', '127.0.0.1'], port, later());
    expect(socket.remoteAddress).toBe('127.0.0.1');
    await expect.poll(open).toBe(1);
    socket.destroy();
  });

  // Linux accepts connections on all of 127.0.0.0/8, and does not answer more of them than the server's queue has places.
  describe.runIf(process.platform === 'linux')('to an address that does not answer', () => {
    let port: number;
    const fillers: Socket[] = [];
    let silent: ReturnType<typeof spawn>;
    beforeAll(async () => {
      const program = `const s = require('node:net').createServer().listen({ host: '127.0.0.2', port: 0, backlog: 1 },
        () => console.log(s.address().port))`;
      silent = spawn(process.execPath, ['-e', program], { stdio: ['ignore', 'pipe', 'inherit'] });
      port = Number(await new Promise((resolve) => silent.stdout?.once('data', resolve)));
      silent.kill('SIGSTOP');
      for (let i = 0; i < 4; i++) fillers.push(connect(port, '127.0.0.2').on('error', () => {}));
      await sleep(200);
    });
    afterAll(() => {
      for (const socket of fillers) socket.destroy();
      silent.kill('SIGKILL');
    });

    it('leaves half of the time for the second one', async () => {
      closing.push(await serve(createServer(), port));
      const begin = Date.now();
      const socket = await connectTcp(['127.0.0.2', '127.0.0.1'], port, later(2_000));
      expect(socket.remoteAddress).toBe('127.0.0.1');
      expect(Date.now() - begin).toBeGreaterThan(950);
      expect(Date.now() - begin).toBeLessThan(1_900);
      socket.destroy();
    });

    it('ends at the deadline, as TIMED_OUT', async () => {
      const begin = Date.now();
      const late = connectTcp(['127.0.0.2', '127.0.0.2'], port, later(400));
      await expect(late).rejects.toMatchObject({ stage: 'tcp', code: 'TIMED_OUT' });
      expect(Date.now() - begin).toBeGreaterThan(350);
      expect(Date.now() - begin).toBeLessThan(1_500);
    });
  });

  it('fails with the code of the last address, and of none', async () => {
    const { port, close } = await serve(createServer());
    await close();
    const refused = connectTcp(['127.0.0.2', '127.0.0.1'], port, later(1_000));
    await expect(refused).rejects.toMatchObject({ stage: 'tcp', code: 'ECONNREFUSED' });
    await expect(connectTcp([], port, later())).rejects.toMatchObject({ stage: 'tcp', code: 'UNKNOWN' });
  });
});

describe('the handshake', () => {
  let authority: Authority;
  let pair: Pair;
  beforeAll(async () => {
    authority = await createAuthority('Example CA');
    pair = await authority.issue({ commonName: 'broker', hosts: ['broker.example.com', '127.0.0.1'] });
  });

  const opened = async (port: number): Promise<Socket> => {
    const socket = connect(port, '127.0.0.1');
    await new Promise((resolve) => socket.once('connect', resolve));
    return socket;
  };
  const none = { host: 'broker.example.com', ca: undefined, cert: undefined, key: undefined };
  const named: (string | undefined)[] = [];
  const secured = async (options: TlsOptions = {}) => {
    named.splice(0);
    const SNICallback: TlsOptions['SNICallback'] = (name, done) => {
      named.push(name);
      done(null);
    };
    return (await started(tls.createServer({ ...pair, SNICallback, ...options }))).port;
  };

  it('with a trusted certificate: verified, with names, end, version and chain', async () => {
    const port = await secured();
    const { socket, facts } = await startTls(await opened(port), { ...none, ca: authority.cert }, later());
    expect(facts).toEqual({
      version: 'TLSv1.3',
      subject: 'CN=broker',
      issuer: 'CN=Example CA',
      expiresAt: expect.stringMatching(/^\d{4}-.*Z$/),
      verified: true,
      problem: undefined,
      chain: ['CN=broker', 'CN=Example CA'],
    });
    expect(named).toEqual(['broker.example.com']);
    socket.destroy();
  });

  it('with an untrusted one: not verified, its problem, and nothing fails', async () => {
    const port = await secured();
    const { socket, facts } = await startTls(await opened(port), none, later());
    expect(facts).toMatchObject({ verified: false, problem: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE' });
    expect(facts.chain).toEqual(['CN=broker', 'CN=Example CA']);
    socket.destroy();
  });

  it('with a chain: each subject once, up to the root that the server does not send', async () => {
    const below = await authority.issueAuthority('Issuing CA');
    const leaf = await below.issue({ commonName: 'leaf', hosts: ['broker.example.com'] });
    const port = await secured({ key: leaf.key, cert: `${leaf.cert}\n${below.cert}` });
    const { socket, facts } = await startTls(await opened(port), { ...none, ca: authority.cert }, later());
    expect(facts).toMatchObject({ verified: true, chain: ['CN=leaf', 'CN=Issuing CA', 'CN=Example CA'] });
    socket.destroy();
  });

  it('at an IP address names no server', async () => {
    const port = await secured();
    const options = { ...none, host: '127.0.0.1', ca: authority.cert };
    const { socket, facts } = await startTls(await opened(port), options, later());
    expect(facts.verified).toBe(true);
    expect(named).toEqual([]);
    socket.destroy();
  });

  it('with a client certificate, only if there is a key', async () => {
    const client = await authority.issue({ commonName: 'client' });
    // TLS 1.2: the server refuses in the handshake, not after it.
    const port = await secured({
      requestCert: true,
      rejectUnauthorized: true,
      ca: authority.cert,
      maxVersion: 'TLSv1.2',
    });
    const { socket } = await startTls(await opened(port), { ...none, ...client, ca: authority.cert }, later());
    socket.destroy();
    const without = startTls(await opened(port), { ...none, cert: client.cert, ca: authority.cert }, later());
    await expect(without).rejects.toMatchObject({ stage: 'tls' });
  });

  it.each([
    ['hangs up', (socket: Socket) => socket.end(), /^(CLOSED|ECONNRESET)$/],
    ['does not speak TLS', (socket: Socket) => socket.end('220 hello\r\n'), /^ERR_SSL_/],
    ['says nothing', (socket: Socket) => socket.resume(), /^TIMED_OUT$/],
  ])('with a server that %s fails with its code, and the socket is closed', async (_, behaviour, code) => {
    const { port } = await started(createServer(behaviour));
    const socket = await opened(port);
    const error = await startTls(socket, none, later(500)).catch((reason) => reason);
    expect(error).toMatchObject({ stage: 'tls', code: expect.stringMatching(code) });
    expect(socket.destroyed).toBe(true);
  });
});
