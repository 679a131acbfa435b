import type { Context } from '../context.ts';
import { query } from '../database/db.ts';
import { deviceNotFound, Problem } from '../errors.ts';
import type { ResolvedBroker } from '../resolution/broker-row.ts';
import { type ResolutionStep, resolutionSteps, stepsOfDevice } from '../resolution/resolve.ts';
import { settings } from '../settings/settings.ts';
import { type DeviceRow, deviceJson, deviceTag, formatDevice, formatResolvedBroker } from './row.ts';

type Row = { device: DeviceRow; tag: string; steps: ResolutionStep[] };

/** What one step of the resolution came to. */
type Explained = {
  step: number;
  source: ResolvedBroker['source'];
  broker_id: number | null;
  outcome: 'taken' | 'skipped' | 'not reached';
  why: string;
};

/**
 * A device with its resolution explained: what each step found, why it was taken or skipped, and whether
 * another default broker would move this device.
 * @throws Problem `device-not-found`
 */
export async function getDevice(ctx: Context, uuid: string) {
  const [row] = await query<Row>(
    ctx,
    (sql) => sql`
      with device as (select * from devices where uuid = berth_uuid(${uuid})), steps as (
        ${resolutionSteps(sql, stepsOfDevice(sql, sql`device`))}
      )
      select ${deviceJson(sql, 'device')} as device, ${deviceTag(sql, 'device')} as tag,
             (select json_agg(steps order by number) from steps) as steps
      from device`,
  );
  if (!row) throw new Problem(deviceNotFound);
  const { mqttBrokerUrl } = settings();
  const taken = row.steps.find(({ usable }) => usable);
  const broker: ResolvedBroker | undefined = taken?.broker
    ? { source: taken.source, row: taken.broker }
    : mqttBrokerUrl
      ? { source: 'environment', url: mqttBrokerUrl }
      : undefined;
  const body = {
    device: formatDevice(row.device),
    resolved_broker: formatResolvedBroker(broker),
    explain: explain(row.steps, taken, mqttBrokerUrl),
    if_default_changes: ifDefaultChanges(broker),
  };
  return { body, tag: row.tag };
}

function explain(steps: ResolutionStep[], taken: ResolutionStep | undefined, url: string | undefined): Explained[] {
  const explained = steps.map((step): Explained => {
    const { number, source, broker_id } = step;
    if (taken && number > taken.number)
      return { step: number, source, broker_id, outcome: 'not reached', why: found(step) };
    return { step: number, source, broker_id, outcome: step === taken ? 'taken' : 'skipped', why: found(step) };
  });
  const why = url ? 'MQTT_BROKER_URL is set' : 'MQTT_BROKER_URL is not set';
  const outcome = taken ? 'not reached' : url ? 'taken' : 'skipped';
  return [...explained, { step: steps.length + 1, source: 'environment', broker_id: null, outcome, why }];
}

const NAMES_NONE = {
  device: 'the device has no assignment',
  provisioning_key: 'its provisioning key has no default broker',
  default: 'no broker is the default',
};

function found({ source, broker_id, broker, usable }: ResolutionStep): string {
  if (broker_id === null) return NAMES_NONE[source];
  if (!broker) return `broker ${broker_id} does not exist`;
  return `broker ${broker_id} (${broker.name}) is ${usable ? 'active' : 'not active'}`;
}

function ifDefaultChanges(broker: ResolvedBroker | undefined): { moves: boolean; why: string } {
  if (broker?.source === 'device' || broker?.source === 'provisioning_key') {
    return { moves: false, why: 'An earlier step decides, so another default changes nothing for this device.' };
  }
  return { moves: true, why: 'No earlier step decides, so this device follows the default broker.' };
}
