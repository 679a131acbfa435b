import { createServer } from 'node:http';
import { call } from './api.ts';
import { serve } from './serve.ts';

export type Gateway = {
  url: string;
  /** Each request's path, with its body (200) or its status: `/api/v1/mqtt/auth/user allow`. */
  requests: string[];
  close: () => Promise<void>;
};

/** Serves the handlers over HTTP, for programs that cannot call them: the part of an HTTP API that they need. */
export async function startGateway(): Promise<Gateway> {
  const requests: string[] = [];
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const url = new URL(request.url as string, 'http://localhost');
    const reply = await call(`${request.method} ${url.pathname}`, {
      // Uncompressed: `call` reads replies as text.
      headers: { ...(request.headers as Record<string, string>), 'accept-encoding': 'identity' },
      query: Object.fromEntries(url.searchParams),
      body: Buffer.concat(chunks).toString('utf8'),
      base64: true,
    });
    requests.push(`${url.pathname} ${reply.status === 200 ? reply.text : reply.status}`);
    response.writeHead(reply.status, reply.headers).end(reply.text);
  });
  const { port, close } = await serve(server);
  return { url: `http://127.0.0.1:${port}`, requests, close };
}
