/** The values of a form. */
type Values = Record<string, string | boolean>;

export type Merge = {
  /** Of each field: what this operator typed, or else what the other one stored. */
  values: Values;
  /** Fields that both changed, each to another value: somebody has to choose. */
  conflicts: string[];
};

/**
 * Merges the changes of two operators who began with the same values.
 * @param base what both saw
 * @param mine what this operator typed
 * @param theirs what is stored now
 */
export function mergeOf(base: Values, mine: Values, theirs: Values): Merge {
  const values: Values = {};
  const conflicts: string[] = [];
  for (const [field, typed] of Object.entries(mine)) {
    const stored = theirs[field] ?? typed;
    const isMine = typed !== base[field];
    values[field] = isMine ? typed : stored;
    if (isMine && stored !== base[field] && stored !== typed) conflicts.push(field);
  }
  return { values, conflicts };
}
