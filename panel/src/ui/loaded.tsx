import type { ComponentChildren } from 'preact';
import { type Known, refresh } from '../data/query.ts';
import { Problem } from './problem.tsx';

type Props<T> = { known: Known<T>; path?: string | undefined; children: (data: T) => ComponentChildren };

/** What is known of a path: the data, though old; before the first reply a quiet line; and a failure above either. */
export function Loaded<T>({ known, path, children }: Props<T>) {
  const { data, failure, isLoading } = known;
  return (
    <>
      <Problem failure={failure} {...(path ? { onRetry: () => refresh(path) } : {})} />
      {data !== undefined ? children(data) : isLoading && <p class="loading">Loading …</p>}
    </>
  );
}
