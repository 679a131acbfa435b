import { createServer, type IncomingMessage, type ServerResponse, request as send } from 'node:http';
import { Problem, type ProblemType, temporaryProblem } from '../../lib/errors.ts';
import { renderProblem } from '../../lib/http/problem.ts';
import { serve } from './serve.ts';

/**
 * What becomes of a request: Berth answers it; Berth acts, but its reply is lost or never ends; it reaches nobody; or it is
 * answered with a problem and does not reach Berth.
 */
export type Fate = 'pass' | 'lose-reply' | 'hang' | 'refuse' | ProblemType;

/** The request id of the problems that a front answers with. */
export const FRONT_REQUEST_ID = '00000000-0000-4000-8000-000000000001';

/** A request that has passed. */
export type Passed = { method: string; path: string; status: number; ms: number };

export type Front = {
  url: string;
  /** What has passed, with the time that Berth took. */
  passed: Passed[];
  /** Decides from now on. Default: every request passes. */
  decide: (fate: (method: string, path: string) => Fate) => void;
  /** Stops listening: Berth cannot be reached. */
  close: () => Promise<void>;
};

/** A server between the browser and a running Berth, for what goes wrong on the way. */
export async function startFront(target: string): Promise<Front> {
  const passed: Passed[] = [];
  let fateOf: (method: string, path: string) => Fate = () => 'pass';
  const server = createServer(async (request, response) => {
    const { method = 'GET', url = '/' } = request;
    const fate = fateOf(method, url);
    if (fate === 'refuse') return request.socket.destroy();
    if (typeof fate === 'object') {
      request.resume();
      return answer(response, fate);
    }
    const began = performance.now();
    const reply = await forward(target, request).catch(() => undefined);
    if (!reply || fate === 'lose-reply') return request.socket.destroy();
    passed.push({ method, path: url, status: reply.status, ms: performance.now() - began });
    if (fate === 'hang') return;
    response.writeHead(reply.status, reply.headers).end(reply.body);
  });
  const { port, close } = await serve(server);
  return {
    url: `http://127.0.0.1:${port}`,
    passed,
    decide: (fate) => {
      fateOf = fate;
    },
    close,
  };
}

/** Answers as Berth does, with the same code. */
function answer(response: ServerResponse, type: ProblemType): void {
  const problem = [429, 503].includes(type.status) ? temporaryProblem(type) : new Problem(type);
  const { statusCode, headers, body } = renderProblem(problem, FRONT_REQUEST_ID);
  response.writeHead(statusCode as number, headers as Record<string, string>).end(body);
}

type Reply = { status: number; headers: IncomingMessage['headers']; body: Buffer };

async function forward(target: string, request: IncomingMessage): Promise<Reply> {
  const { method, url = '/', headers } = request;
  const reply = await new Promise<IncomingMessage>((resolve, reject) => {
    request.pipe(send(new URL(url, target), { method, headers }, resolve).on('error', reject));
  });
  const chunks: Buffer[] = [];
  for await (const chunk of reply) chunks.push(chunk);
  const { connection: _connection, 'transfer-encoding': _encoding, ...passedOn } = reply.headers;
  return { status: reply.statusCode ?? 502, headers: passedOn, body: Buffer.concat(chunks) };
}
