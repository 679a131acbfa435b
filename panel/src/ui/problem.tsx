import type { ComponentChildren } from 'preact';
import type { Failure } from '../api/failure.ts';
import type { Action } from '../data/action.ts';
import { Button } from './button.tsx';

type Props = {
  failure: Failure | undefined;
  /** Errors of fields that the form shows itself. */
  shownFields?: string[];
  onRetry?: () => void;
  children?: ComponentChildren;
};

/** Why something failed, with everything that support asks for: what to do, the code, and the request id. */
export function Problem({ failure, shownFields = [], onRetry, children }: Props) {
  if (!failure) return null;
  const { title, detail, code, requestId, retryAfterSeconds } = failure;
  const errors = failure.errors.filter(({ path }) => !shownFields.includes(path));
  return (
    <div class={`problem ${failure.kind}`} role="alert">
      <p class="problem-title">{title}</p>
      {detail && <p dir="auto">{detail}</p>}
      {errors.length > 0 && (
        <ul class="problem-errors">
          {errors.map(({ path, message }) => (
            <li key={path}>
              <code>{path}</code> {message}
            </li>
          ))}
        </ul>
      )}
      {retryAfterSeconds !== undefined && <p>Repeat it in {retryAfterSeconds} s.</p>}
      {children}
      <p class="problem-facts">
        <code>{code}</code>
        {requestId && (
          <>
            {' '}
            · request <code>{requestId}</code>
          </>
        )}
      </p>
      {onRetry && <Button onClick={onRetry}>Try again</Button>}
    </div>
  );
}

/** The failure of an action. After a lost reply: what the current state says about it. */
export function ActionProblem({
  action,
  shownFields,
}: {
  action: Action<never> | Action<unknown>;
  shownFields?: string[];
}) {
  const { failure, outcome } = action;
  return (
    <Problem failure={failure} {...(shownFields ? { shownFields } : {})}>
      {outcome && <p aria-live="polite">{OUTCOMES[outcome]}</p>}
    </Problem>
  );
}

const OUTCOMES = {
  checking: 'Asking for the current state …',
  made: 'The current state shows that the change was made.',
  'not-made': 'The current state shows that the change was not made. It is safe to repeat it.',
  unknown: 'The page shows the current state, if it could be fetched. Repeating the change is safe.',
};
