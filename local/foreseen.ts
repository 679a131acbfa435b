/** A problem whose message says all a person needs: printed alone, without a stack trace. */
export class Foreseen extends Error {
  override name = 'Foreseen';
}

/** What to print for `error`: the sentence when it was foreseen, the stack when it is a bug. */
export function describeError(error: unknown): string {
  if (error instanceof Foreseen) return error.message;
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
