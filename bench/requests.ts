import { randomBytes, randomUUID } from 'node:crypto';
import type { APIGatewayProxyEventV2, Context as LambdaContext } from 'aws-lambda';
import { handler as mqttHandler } from '../functions/device-mqtt.ts';
import { handler as registerHandler } from '../functions/register.ts';
import type { Handler } from '../lib/http/endpoint.ts';

/** A provisioning key: its row's id, the key itself and the hash that is stored of it. */
export type BenchKey = { id: string; key: string; hash: string };
export type BenchDevice = { uuid: string; deviceName: string; deviceType: string; deviceApiKey: string };
export type Answer = { statusCode: number; headers: Record<string, string>; body: string };

/** A request as a client makes it, and the handler that it is for. */
export type Call = {
  handler: Handler;
  headers: Record<string, string>;
  body?: string;
  params?: Record<string, string>;
};

/** Asked for by everybody; its statement is told by it. */
export const SOURCE_IP = '192.0.2.1';

export function newDevice(): BenchDevice {
  return {
    uuid: randomUUID(),
    deviceName: 'Bench',
    deviceType: 'bench',
    deviceApiKey: randomBytes(32).toString('hex'),
  };
}

export function registerCall({ key }: BenchKey, device: BenchDevice): Call {
  const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' };
  return { handler: registerHandler, headers, body: JSON.stringify(device) };
}

/** The question for the current broker; with an ETag, the answer is 304. */
export function mqttCall({ uuid, deviceApiKey }: BenchDevice, etag?: string): Call {
  const headers = { authorization: `Bearer ${deviceApiKey}`, ...(etag ? { 'if-none-match': etag } : {}) };
  return { handler: mqttHandler, headers, params: { uuid } };
}

/** Calls the handler as Lambda does with an event of an HTTP API (payload 2.0). */
export async function callHandler({ handler, headers, body, params }: Call): Promise<Answer> {
  const event = {
    version: '2.0',
    headers,
    pathParameters: params,
    requestContext: { http: { sourceIp: SOURCE_IP } },
    body,
    isBase64Encoded: false,
  };
  const end = Date.now() + 10_000;
  const context = { awsRequestId: randomUUID(), getRemainingTimeInMillis: () => end - Date.now() };
  return (await handler(event as unknown as APIGatewayProxyEventV2, context as unknown as LambdaContext)) as Answer;
}
