/** An error whose message is all that its reader needs. It is printed without a stack trace. */
export class UserError extends Error {
  override name = 'UserError';
}

/** The program was called wrongly, or without what it needs: it ends with 2. */
export class UsageError extends UserError {}

/** What to print: the message of a {@link UserError}, the stack of a defect. */
export function describeError(error: unknown): string {
  if (error instanceof UserError) return error.message;
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

/** Runs a program that ends with its result as the exit code (default 0), or prints an error and ends with 2 or `onError`. */
export async function runProgram(program: () => unknown, onError = 1): Promise<void> {
  try {
    process.exitCode = Number((await program()) ?? 0);
  } catch (error) {
    console.error(describeError(error));
    process.exitCode = error instanceof UsageError ? 2 : onError;
  }
}
