import { randomBytes, randomUUID } from 'node:crypto';

/** A provisioning key: the id of its row, the key itself and its stored hash. */
export type BenchKey = { id: string; key: string; hash: string };
export type BenchDevice = { uuid: string; deviceName: string; deviceType: string; deviceApiKey: string };
export type Answer = { statusCode: number; headers: Record<string, string>; body: string };

/** A request to a function of `functions/`, as a client makes it. */
export type Call = {
  name: string;
  /** `POST /api/v1/…`: which route of the function. */
  route?: string;
  headers: Record<string, string>;
  body?: object;
  params?: Record<string, string>;
  query?: Record<string, string>;
};

export const ADMIN_TOKEN = 'admin-token-of-the-bench';
export const asAdmin = { authorization: `Bearer ${ADMIN_TOKEN}` };

export function newDevice(): BenchDevice {
  return {
    uuid: randomUUID(),
    deviceName: 'Bench',
    deviceType: 'bench',
    deviceApiKey: randomBytes(32).toString('hex'),
  };
}

export function registerCall({ key }: BenchKey, body: BenchDevice): Call {
  return { name: 'register', headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' }, body };
}

/** Asks for the current broker. With the current ETag, the reply is 304. */
export function mqttCall({ uuid, deviceApiKey }: BenchDevice, etag?: string): Call {
  const headers = { authorization: `Bearer ${deviceApiKey}`, ...(etag ? { 'if-none-match': etag } : {}) };
  return { name: 'device-mqtt', headers, params: { uuid } };
}

/** The call as an event of an HTTP API (payload 2.0). */
export function eventOf({ route, headers, body, params, query }: Call): object {
  return {
    version: '2.0',
    routeKey: route,
    headers,
    pathParameters: params,
    queryStringParameters: query,
    requestContext: { http: { sourceIp: '192.0.2.1' } },
    body: body && JSON.stringify(body),
    isBase64Encoded: false,
  };
}

/** What Lambda passes with an event. */
export function lambdaContext(remainingMs = 10_000): object {
  const end = Date.now() + remainingMs;
  return { awsRequestId: randomUUID(), getRemainingTimeInMillis: () => end - Date.now() };
}
