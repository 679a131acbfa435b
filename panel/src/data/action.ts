import { useSignal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import { announce } from '../announce.ts';
import { type Reply, type Request, send } from '../api/client.ts';
import { Failure } from '../api/failure.ts';
import { changed, gone } from './query.ts';

export type Action<T> = {
  /** Sends the request, unless one is under way. */
  run: (request: Request) => Promise<Reply<T> | undefined>;
  isBusy: boolean;
  /** Of the last run. */
  failure: Failure | undefined;
  /** After a run without a reply: what the current state says about it. */
  outcome: Outcome | undefined;
  reset: () => void;
};
export type Outcome = 'checking' | 'made' | 'not-made' | 'unknown';

type Options<T> = {
  /** What the change makes stale: prefixes of paths of the API. */
  changes: string[];
  /** The path of what it deletes. */
  removes?: string;
  done?: (reply: Reply<T>) => void;
  /** Said when it is done. */
  message?: string | ((data: T) => string);
  /** After a lost reply: fetches the current state and says whether it has the change; undefined: it cannot tell. */
  check?: () => Promise<boolean | undefined>;
};

/** A request that changes something: busy, failed, done, or with an unknown outcome, which it then finds out. */
export function useAction<T>({ changes, removes, done, message, check }: Options<T>): Action<T> {
  const state = useSignal<{ isBusy: boolean; failure?: Failure; outcome?: Outcome }>({ isBusy: false });
  const isRunning = useRef(false);
  const isShown = useRef(true);
  useEffect(
    () => () => {
      isShown.current = false;
    },
    [],
  );
  const run = async (request: Request) => {
    if (isRunning.current) return undefined;
    isRunning.current = true;
    state.value = { isBusy: true };
    try {
      const reply = await send<T>(request);
      state.value = { isBusy: false };
      if (removes) gone(removes);
      changed(...changes);
      if (message) announce(typeof message === 'string' ? message : message(reply.data));
      // Who has left the page must not be taken elsewhere.
      if (isShown.current) done?.(reply);
      return reply;
    } catch (failure) {
      if (!(failure instanceof Failure)) throw failure;
      state.value = { isBusy: false, failure };
      // Another operator was faster: what the page shows is stale.
      if (failure.code === 'precondition-failed') changed(...changes);
      if (failure.kind === 'no-reply') {
        state.value = { isBusy: false, failure, outcome: 'checking' };
        const outcome = await outcomeOf(check);
        changed(...changes);
        state.value = { isBusy: false, failure, outcome };
      }
      return undefined;
    } finally {
      isRunning.current = false;
    }
  };
  const { isBusy, failure, outcome } = state.value;
  return {
    run,
    isBusy,
    failure,
    outcome,
    reset: () => {
      state.value = { isBusy: false };
    },
  };
}

async function outcomeOf(check: (() => Promise<boolean | undefined>) | undefined): Promise<Outcome> {
  try {
    const isMade = await check?.();
    return isMade === undefined ? 'unknown' : isMade ? 'made' : 'not-made';
  } catch {
    return 'unknown';
  }
}
