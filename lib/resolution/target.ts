import { brokerDraining, brokerInactive, brokerNotFound, Problem } from '../errors.ts';

/** A broker that a request names as `default_broker_id`. `refusal`: why it takes no devices; null: it takes them. */
export type Target = { refusal: 'inactive' | 'draining' | null };

/** The problem of a broker that takes no devices; null: there is no such broker. */
export function targetProblem(target: Target | null | undefined): Problem {
  if (!target) return new Problem(brokerNotFound);
  return new Problem(target.refusal === 'draining' ? brokerDraining : brokerInactive);
}
