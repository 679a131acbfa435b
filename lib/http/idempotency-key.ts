import { invalidRequest, Problem } from '../errors.ts';

/**
 * The value of an `Idempotency-Key` header, or undefined when there is none.
 * @throws Problem `invalid-request` when it is not 1 to 200 printable ASCII characters
 */
export function idempotencyKey(header: string | undefined): string | undefined {
  if (header === undefined || /^[\x20-\x7e]{1,200}$/.test(header)) return header;
  const message = 'must be 1 to 200 printable ASCII characters';
  throw new Problem(invalidRequest, `Idempotency-Key ${message}.`, {
    errors: [{ path: 'Idempotency-Key', message }],
  });
}
