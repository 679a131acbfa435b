import { randomUUID } from 'node:crypto';
import type { Panel } from './panel.ts';

/** Names that break pages which do not show text as text. Each is allowed by the API. */
export const NAMES = {
  markup: `<img src=x onerror="document.title='broken'"><b>bold</b>&amp;`,
  long: 'Wide-'.repeat(51),
  rightToLeft: 'משאבה ראשית ‏مضخة رئيسية 12',
  emoji: '👩🏽‍🚀 Pumpe 🏭🇪🇺 ⚙️',
};

/** Ids of rows that a test may show. */
export type Samples = { broker: number; key: string; device: string; job: number };

/** A broker, a key, a device that registered with the key, and a job that moved it, all with this name. */
export async function createSamples({ api, stack }: Panel, name = 'Sample'): Promise<Samples> {
  // Also the long name must be unique.
  const tail = ` ${randomUUID().slice(0, 8)}`;
  const called = name.slice(0, 255 - tail.length) + tail;
  const { data } = await api<{ data: { id: number } }>('POST', '/mqtt/brokers', {
    name: called,
    protocol: 'mqtt',
    host: 'localhost',
    port: Number(new URL((stack.brokers[0] as { url: string }).url).port),
    description: name,
  });
  const { id: key, key: secret } = await api<{ id: string; key: string }>('POST', '/provisioning-keys', {
    fleet_id: [...name].slice(0, 100).join(''),
    description: name,
  });
  const device = randomUUID();
  await registerDevice(stack.url, secret, device, name);
  const { id: job } = await api<{ id: number }>('POST', '/devices/bulk-assign', {
    filter: { uuids: [device] },
    target: { mqtt_broker_id: data.id },
    reason: name,
  });
  return { broker: data.id, key, device, job };
}

/** Registers a device, as the device does. */
export async function registerDevice(url: string, key: string, uuid: string, deviceName: string): Promise<void> {
  const reply = await fetch(`${url.replace('localhost', '127.0.0.1')}/api/v1/device/register`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}` },
    body: JSON.stringify({ uuid, deviceName, deviceType: 'sensor', deviceApiKey: randomUUID() }),
  });
  if (!reply.ok) throw new Error(await reply.text());
}
