import { expect, it } from 'vitest';
import { call } from '../support/api.ts';
import { addBroker, admin, issueKey, newDevice, register, useBerth } from '../support/berth.ts';

/** What a change of a device leaves as it is. */
const berth = useBerth();
const change = (uuid: string, body: object) => call(`PUT /api/v1/devices/${uuid}`, { headers: admin, body });

async function registered() {
  const device = newDevice();
  await register((await issueKey()).key, device);
  return device;
}

it('activating an active device leaves its MQTT user as it is', async () => {
  const { uuid } = await registered();
  const user = () => berth.sql('select * from mqtt_users where username = $1', [`device_${uuid}`]);
  const before = await user();
  expect((await change(uuid, { is_active: true })).status).toBe(200);
  expect(await user()).toEqual(before);
});

it.each([{ device_name: 'Pump 8' }, { device_type: 'gateway' }, { is_active: false }])(
  '%o leaves the assignment, its time, and the other fields as they are',
  async (body) => {
    const { uuid } = await registered();
    const broker = await addBroker(berth);
    await berth.sql('update devices set mqtt_broker_id = $1, mqtt_broker_assigned_at = now() where uuid = $2', [
      broker,
      uuid,
    ]);
    const row = async () => (await berth.sql('select * from devices where uuid = $1', [uuid]))[0];
    const before = await row();
    expect((await change(uuid, body)).status).toBe(200);
    expect(await row()).toEqual({ ...before, ...body, modified_at: expect.any(Date) });
  },
);
