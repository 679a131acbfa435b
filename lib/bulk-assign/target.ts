import type { Fragment, Sql } from '../database/db.ts';
import { brokerDraining, brokerInactive, brokerNotFound, noDefaultBroker, Problem } from '../errors.ts';
import { getDefaultBrokerConfig } from '../resolution/resolve.ts';

/** A broker that devices are to be moved to; `problem`: why it can't take them. */
export type Target = { id: number; problem: 'broker-inactive' | 'broker-draining' | null };

/** SQL for the row `id, problem` of the broker that a target names, none for null or an unknown one. */
export function targetBroker(sql: Sql, target: number | null | 'default'): Fragment {
  return sql`
    select id, case when is_active is not true then 'broker-inactive'
                    when not accepts_new_devices then 'broker-draining' end as problem
    from mqtt_broker_config
    where id = ${target === 'default' ? getDefaultBrokerConfig(sql) : sql`${target}::integer`}`;
}

/** The problem of a target that can't be used. */
export function targetProblem(broker: Target | undefined, target: number | null | 'default'): Problem {
  if (!broker?.problem) return new Problem(target === 'default' ? noDefaultBroker : brokerNotFound);
  const type = broker.problem === 'broker-draining' ? brokerDraining : brokerInactive;
  return new Problem(type, undefined, { extra: { brokerId: broker.id } });
}
