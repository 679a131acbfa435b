import { createServer } from 'node:http';
import type { TestProject } from 'vitest/node';
import { serve } from './serve.ts';
import { cloneProject, type Local, localFile, type Program, startStack } from './stack.ts';

declare module 'vitest' {
  export interface ProvidedContext {
    /** Answers with the {@link SharedStack} as JSON. */
    browserStackUrl: string;
  }
}

/** The local stack that the browser tests of a run share, and the clone of the project that it runs in. */
export type SharedStack = Local & { dir: string };

type Running = { stack: Program; clone: ReturnType<typeof cloneProject> };

/** Vitest's global setup: one `npm start` per run. It starts when the first test asks, so that it slows down no other tests. */
export default async function setup(project: TestProject) {
  let starting: Promise<Running> | undefined;
  const server = createServer(async (_request, response) => {
    try {
      starting ??= start();
      const { clone } = await starting;
      response.end(JSON.stringify({ ...(localFile(clone.dir) as Local), dir: clone.dir }));
    } catch (error) {
      response.writeHead(500).end(String(error));
    }
  });
  const { port, close } = await serve(server);
  project.provide('browserStackUrl', `http://127.0.0.1:${port}`);
  return async () => {
    await close();
    const running = await starting?.catch(() => undefined);
    await running?.stack.end('SIGINT');
    running?.clone.remove();
  };
}

async function start(): Promise<Running> {
  const clone = cloneProject();
  try {
    const { stack } = await startStack(clone.dir);
    return { stack, clone };
  } catch (error) {
    clone.remove();
    throw error;
  }
}
