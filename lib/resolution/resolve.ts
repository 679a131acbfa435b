import type { Fragment, Sql } from '../database/db.ts';
import { noBrokerAvailable, type Problem, temporaryProblem } from '../errors.ts';
import { log } from '../log.ts';
import { count } from '../metrics.ts';
import { settings } from '../settings/settings.ts';
import type { BrokerRow, ResolvedBroker, TableSource } from './broker-row.ts';

/** What callers return of {@link getBrokerConfigForDevice}; both null when no broker resolves. */
export type BrokerColumns = { broker_source: TableSource | null; broker: BrokerRow | null };

/**
 * SQL: the broker that a device resolves to, as at most one row `broker_source, broker_id, settings_hash, broker`.
 * berth_resolve (migrations/0007_resolution.sql) has the steps and their order; the last step, MQTT_BROKER_URL, is
 * {@link resolvedBroker}'s.
 *
 * @param device SQL for FROM: one row with uuid, mqtt_broker_id, provisioned_by_key_id and is_new (whether the device is
 *   registering now, so that a draining broker is skipped)
 * @param lookup false: look nothing up, because the lookup has failed ({@link withBrokerLookup})
 */
export function getBrokerConfigForDevice(sql: Sql, device: Fragment, lookup: boolean): Fragment {
  if (!lookup) {
    return sql`
      select null::text as broker_source, null::integer as broker_id, null::text as settings_hash, null::json as broker
      where false`;
  }
  return sql`
    select resolved.source as broker_source, b.id as broker_id, b.settings_hash, b.client_settings as broker
    from ${device} device
    cross join lateral
      berth_resolved(device.uuid::text, device.mqtt_broker_id, device.provisioned_by_key_id, device.is_new) resolved
    join mqtt_broker_config b on b.id = resolved.broker_id`;
}

/** SQL: the id of the default broker, active or not; a unique index allows one at most. */
export function getDefaultBrokerConfig(sql: Sql): Fragment {
  return sql`(select id from mqtt_broker_config where is_default)`;
}

/**
 * The broker in the columns of {@link getBrokerConfigForDevice}, or the last step: MQTT_BROKER_URL.
 * @returns undefined: no broker resolves
 */
export function resolvedBroker({ broker_source, broker }: BrokerColumns): ResolvedBroker | undefined {
  if (broker && broker_source) return { source: broker_source, row: broker };
  const { mqttBrokerUrl } = settings();
  return mqttBrokerUrl ? { source: 'environment', url: mqttBrokerUrl } : undefined;
}

/** `no-broker-available`. It lasts until an operator acts, so a fleet need not ask every few seconds. */
export function noBroker(): Problem {
  return temporaryProblem(noBrokerAvailable, undefined, { min: 30, spread: 30 });
}

/** Counts a resolution that a device asked for, by its source, and warns when the environment had to answer. */
export function countResolution(broker: ResolvedBroker | undefined): void {
  count('BrokerResolved', { source: broker?.source ?? 'none' });
  if (broker?.source === 'environment') log.warn('broker taken from MQTT_BROKER_URL');
}

/**
 * Runs a statement that looks the broker up. If the broker table cannot be read and MQTT_BROKER_URL is set, runs it again
 * without the lookup, so that the environment decides.
 */
export async function withBrokerLookup<T>(run: (lookup: boolean) => Promise<T>): Promise<T> {
  try {
    return await run(true);
  } catch (error) {
    const code = String((error as { code?: unknown }).code ?? '');
    // Class 42: a table, column or function is missing or not permitted. XX: the table is damaged.
    if (!settings().mqttBrokerUrl || !/^(42|XX)/.test(code)) throw error;
    log.warn('broker lookup failed', { code });
    count('BrokerLookupFailed');
    return run(false);
  }
}
