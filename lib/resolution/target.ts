import { brokerDraining, brokerInactive, brokerNotFound, Problem } from '../errors.ts';

/** A broker that a request names for devices. `refusal`: why it takes none; null: it takes them. */
export type Target = { refusal: 'inactive' | 'draining' | null };

/**
 * The problem of a broker that takes no devices; null: there is no such broker.
 * @param extra further members of the problem
 */
export function targetProblem(target: Target | null | undefined, extra: Record<string, unknown> = {}): Problem {
  if (!target) return new Problem(brokerNotFound);
  return new Problem(target.refusal === 'draining' ? brokerDraining : brokerInactive, undefined, { extra });
}
