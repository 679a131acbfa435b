const SQL_STATES = { 'not-null': '23502', 'foreign-key': '23503', unique: '23505' } as const;

/**
 * Whether Postgres refused a statement because of a constraint of this kind.
 *
 * @param name of the constraint, or for `not-null` of the column; default: any
 */
export function violates(error: unknown, kind: keyof typeof SQL_STATES, name?: string): boolean {
  const { code, constraint_name, column_name } = (error ?? {}) as Record<string, unknown>;
  return code === SQL_STATES[kind] && (name === undefined || name === constraint_name || name === column_name);
}
