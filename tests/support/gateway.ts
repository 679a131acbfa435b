import { createServer } from 'node:http';
import { call } from './api.ts';

export type Gateway = {
  url: string;
  /** The paths that were asked for, with their answers: `/api/v1/mqtt/auth/user allow`. */
  asked: string[];
  close: () => Promise<void>;
};

/** The handlers behind HTTP, for programs that speak nothing else: an HTTP API's part, and no more of it. */
export async function startGateway(): Promise<Gateway> {
  const asked: string[] = [];
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const url = new URL(request.url as string, 'http://localhost');
    const reply = await call(`${request.method} ${url.pathname}`, {
      headers: request.headers as Record<string, string>,
      query: Object.fromEntries(url.searchParams),
      body: Buffer.concat(chunks).toString('utf8'),
      base64: true,
    });
    asked.push(`${url.pathname} ${reply.status === 200 ? reply.text : reply.status}`);
    response.writeHead(reply.status, reply.headers).end(reply.text);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()));
  return {
    url: `http://127.0.0.1:${(server.address() as { port: number }).port}`,
    asked,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
