import type { Fragment, Sql } from '../database/db.ts';
import { log } from '../log.ts';
import { count } from '../metrics.ts';
import type { BrokerRow, ResolvedBroker } from './broker-row.ts';

/** The columns `broker_source` and `broker` that {@link getBrokerConfigForDevice} selects; both null when none resolved. */
export type BrokerColumns = {
  broker_source: Exclude<ResolvedBroker['source'], 'environment'> | null;
  broker: BrokerRow | null;
};

type Steps = {
  /** SQL for the device's own assignment (a broker id or NULL). */
  device: Fragment;
  /** SQL for the default broker of its provisioning key (a broker id or NULL). */
  provisioningKey: Fragment;
  /** SQL for "the device is only now registering": drained brokers are skipped then. */
  isNew: Fragment;
};

/**
 * The steps of a device that has registered.
 *
 * @param device SQL for what has its one row in FROM: a CTE, or `(select d.*) d` of a row at hand
 */
export function stepsOfDevice(sql: Sql, device: Fragment): Steps {
  return {
    device: sql`(select mqtt_broker_id from ${device})`,
    provisioningKey: sql`(
      select default_broker_id from provisioning_keys where id = (select provisioned_by_key_id from ${device}))`,
    isNew: sql`false`,
  };
}

/**
 * The resolution, as a subquery of at most one row `broker_source, broker`: the first of the device's
 * assignment, its provisioning key's default and the default broker that is active. The one place where
 * this order is written down; the last step, MQTT_BROKER_URL, needs no database: {@link resolvedBroker}.
 *
 * @param steps undefined: looks nothing up (the lookup has failed), so the environment decides
 */
export function getBrokerConfigForDevice(sql: Sql, steps: Steps | undefined): Fragment {
  if (!steps) return sql`select null::text as broker_source, null::json as broker where false`;
  return sql`
    select source as broker_source, broker from (${resolutionSteps(sql, steps)}) step
    where usable order by number limit 1`;
}

/** A step of the resolution as {@link resolutionSteps} selects it: what it names, and whether that can be used. */
export type ResolutionStep = {
  number: number;
  source: BrokerColumns['broker_source'] & string;
  /** What the step names; null: it names none. */
  broker_id: number | null;
  /** Null: the broker is not there (any more). */
  broker: BrokerRow | null;
  usable: boolean;
};

/** All steps in their order, for {@link getBrokerConfigForDevice} to take the first usable, and to explain it. */
export function resolutionSteps(sql: Sql, steps: Steps): Fragment {
  return sql`
    select step.number, step.source, step.broker_id,
           coalesce(b.is_active and (b.accepts_new_devices or not ${steps.isNew}), false) as usable,
           case when b.id is not null then json_build_object(
             'id', b.id, 'name', b.name, 'protocol', b.protocol, 'host', b.host, 'port', b.port,
             'use_tls', b.use_tls, 'verify_certificate', b.verify_certificate, 'client_id_prefix', b.client_id_prefix,
             'keep_alive', b.keep_alive, 'clean_session', b.clean_session, 'reconnect_period', b.reconnect_period,
             'connect_timeout', b.connect_timeout, 'ca_cert', b.ca_cert
           ) end as broker
    from (values (1, 'device', ${steps.device}::integer),
                 (2, 'provisioning_key', ${steps.provisioningKey}::integer),
                 (3, 'default', ${getDefaultBrokerConfig(sql)}::integer)) as step (number, source, broker_id)
    left join mqtt_broker_config b on b.id = step.broker_id`;
}

/** SQL for the id of the default broker, active or not; a unique index allows one at most. */
export function getDefaultBrokerConfig(sql: Sql): Fragment {
  return sql`(select id from mqtt_broker_config where is_default)`;
}

/**
 * What the subquery's columns and the environment come to.
 *
 * @param environmentUrl MQTT_BROKER_URL, the last step
 * @returns undefined: no broker at all
 */
export function resolvedBroker(columns: BrokerColumns, environmentUrl: string | undefined): ResolvedBroker | undefined {
  if (columns.broker && columns.broker_source) {
    count('BrokerResolved', { source: columns.broker_source });
    return { source: columns.broker_source, row: columns.broker };
  }
  count('BrokerResolved', { source: environmentUrl ? 'environment' : 'none' });
  if (!environmentUrl) return undefined;
  log.warn('broker taken from MQTT_BROKER_URL');
  return { source: 'environment', url: environmentUrl };
}

/**
 * Runs a statement with the lookup in it; should that fail because the broker table cannot be read, runs
 * it again without, so that the environment decides.
 *
 * @param run gets false when the lookup is to be left out
 */
export async function withBrokerLookup<T>(
  environmentUrl: string | undefined,
  run: (lookup: boolean) => Promise<T>,
): Promise<T> {
  try {
    return await run(true);
  } catch (error) {
    const code = String((error as { code?: unknown }).code ?? '');
    // Class 42: table or column missing, not permitted. XX: the table is damaged.
    if (!environmentUrl || !/^(42|XX)/.test(code)) throw error;
    log.warn('broker lookup failed', { code });
    count('BrokerLookupFailed');
    return run(false);
  }
}
