import type { Fragment, Sql } from '../database/db.ts';
import { brokerNotFound, noDefaultBroker, Problem } from '../errors.ts';
import { getDefaultBrokerConfig } from '../resolution/resolve.ts';
import { targetProblem as brokerProblem, type Target as NamedBroker } from '../resolution/target.ts';

/** The broker that a job moves devices to. `refusal`: why it takes none; null: it takes them. */
export type Target = { id: number; name: string } & NamedBroker;

/** SQL for the {@link Target} that a request names: no row for null or for a broker that does not exist. */
export function targetBroker(sql: Sql, target: number | null | 'default'): Fragment {
  return sql`
    select id, name, refusal from mqtt_broker_config
    where id = ${target === 'default' ? getDefaultBrokerConfig(sql) : sql`${target}::integer`}`;
}

/** The problem of a target that takes no devices. */
export function targetProblem(broker: Target | null | undefined, target: number | null | 'default'): Problem {
  if (!broker?.refusal) return new Problem(target === 'default' ? noDefaultBroker : brokerNotFound);
  return brokerProblem(broker, { brokerId: broker.id });
}
