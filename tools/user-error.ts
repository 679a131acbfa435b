/** An error whose message is all that its reader needs. It is printed without a stack trace. */
export class UserError extends Error {
  override name = 'UserError';
}

/** What to print: the message of a {@link UserError}, the stack of a defect. */
export function describeError(error: unknown): string {
  if (error instanceof UserError) return error.message;
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

/** Runs a program that ends with its result as the exit code (default 0), or prints an error and ends with `onError`. */
export async function runProgram(program: () => unknown, onError = 1): Promise<void> {
  try {
    process.exitCode = Number((await program()) ?? 0);
  } catch (error) {
    console.error(describeError(error));
    process.exitCode = onError;
  }
}
