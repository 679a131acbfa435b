/**
 * Waits for `promise`, at most `timeoutMs`. Afterwards the work behind it goes on, and its outcome is ignored.
 *
 * @throws the error that `onLate` returns when the time is over
 */
export async function withDeadline<T>(promise: Promise<T>, timeoutMs: number, onLate: () => Error): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(onLate()), Math.max(0, timeoutMs));
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
