import * as z from 'zod/mini';
import type { Context } from '../context.ts';
import { optionalText } from '../fields.ts';
import { updateDevice } from './update.ts';

/** Unknown fields are ignored, as in the legacy service. */
export const setActiveBody = z.object({
  is_active: z.boolean().check(z.meta({ description: 'false: its MQTT user stops working immediately' })),
  reason: optionalText(1000, 'Why, for the record'),
});

/**
 * {@link updateDevice} with `is_active`, in the form of the legacy service.
 *
 * @param tags the entity tags of If-Match without quotes; undefined: whatever the device is now
 * @throws Problem `device-not-found`, `precondition-failed`
 */
export async function setActive(
  ctx: Context,
  uuid: string,
  { is_active, reason }: z.output<typeof setActiveBody>,
  tags?: string[],
) {
  const { body, tag } = await updateDevice(ctx, uuid, { is_active, reason }, tags);
  const { device_name, is_online } = body.device;
  const message = is_active ? 'Device enabled' : 'Device disabled';
  const device = { uuid: body.device.uuid, device_name, is_active: body.device.is_active, is_online };
  return { body: { status: 'ok', message, device }, tag };
}
