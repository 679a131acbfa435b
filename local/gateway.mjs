// Loaded into serverless-offline before its own code (local/offline.ts). It makes its gateway answer as the HTTP API on AWS
// does when a function cannot be loaded, ends or times out: 500. serverless-offline answers 200 with the error as the
// body, which a device takes for a success. It sends no CORS headers, and prints a line per request.
import { createRequire } from 'node:module';
import process from 'node:process';
import { isMainThread } from 'node:worker_threads';

// Each function runs in a worker thread, which loads this file too.
if (isMainThread) patch();

function patch() {
  const require = createRequire(import.meta.url);
  const hapi = createRequire(require.resolve('serverless-offline'))('@hapi/hapi');
  const { Server } = hapi;
  hapi.Server = function LocalGateway(options) {
    const server = new Server(options);
    server.ext('onRequest', allowNoOrigin);
    server.ext('onPreResponse', refuseFailures);
    server.events.on('response', printLine);
    return server;
  };
}

/**
 * serverless-offline allows every origin that asks, with credentials: any web page could read the token of the panel. It finds
 * the origin here; the functions still see it.
 */
function allowNoOrigin(request, h) {
  delete request.headers.origin;
  return h.continue;
}

function refuseFailures(request, h) {
  const failure = failureOf(request.response);
  if (!failure) return h.continue;
  request.app.failure = failure;
  return h.response({ message: 'Internal Server Error' }).code(500);
}

/** The message of an error of the invocation: no handler of ours replies with such a body. */
function failureOf({ source }) {
  if (typeof source !== 'string' || !source.startsWith('{"errorMessage":')) return undefined;
  const { errorMessage, errorType, stackTrace } = JSON.parse(source);
  return errorType && stackTrace ? String(errorMessage).split('\n')[0] : undefined;
}

function printLine({ method, path, response, info, app }) {
  const status = response?.statusCode ?? response?.output?.statusCode ?? 'aborted';
  const why = app.failure ? `: the function failed: ${app.failure}` : '';
  // Never the query: it can contain a broker's secret.
  process.stdout.write(`${method.toUpperCase()} ${path} ${status} (${info.responded - info.received} ms)${why}\n`);
}
