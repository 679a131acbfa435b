import { readdirSync } from 'node:fs';
import type { Endpoint, Handler } from '../lib/http/endpoint.ts';

const DIR = new URL('../functions/', import.meta.url);

/** A route, and the function file that serves it. */
export type Route = { endpoint: Endpoint; handler: Handler; functionName: string };

/** Every route of every function file. */
export async function loadRoutes(): Promise<Route[]> {
  const files = readdirSync(DIR).filter((name) => name.endsWith('.ts'));
  const perFile = await Promise.all(files.sort().map(routesOf));
  return perFile.flat();
}

async function routesOf(file: string): Promise<Route[]> {
  const { handler } = await import(new URL(file, DIR).href);
  const endpoints: Endpoint[] = handler.endpoints ?? (handler.spec ? [handler] : []);
  return endpoints.map((endpoint) => ({ endpoint, handler, functionName: file.replace(/\.ts$/, '') }));
}
