import { expect, it } from 'vitest';
import { withDeadline } from '../../lib/deadline.ts';

const late = () => new Error('late');

it('passes on the outcome that comes in time', async () => {
  expect(await withDeadline(Promise.resolve(7), 1_000, late)).toBe(7);
  await expect(withDeadline(Promise.reject(new Error('failed')), 1_000, late)).rejects.toThrow('failed');
});

it('fails after the time, and ignores a later failure', async () => {
  const { promise, reject } = Promise.withResolvers<never>();
  await expect(withDeadline(promise, 5, late)).rejects.toThrow('late');
  reject(new Error('later'));
  await expect(withDeadline(new Promise(() => {}), -1, late)).rejects.toThrow('late');
});
