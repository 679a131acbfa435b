/** A problem whose message says all a person needs: printed alone, without a stack trace. */
export class UserError extends Error {
  override name = 'UserError';
}

/** What to print for `error`: the sentence when it was foreseen, the stack when it is a bug. */
export function describeError(error: unknown): string {
  if (error instanceof UserError) return error.message;
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
