import type { ComponentChildren } from 'preact';
import type { Request } from '../api/client.ts';
import type { Failure } from '../api/failure.ts';
import { useAction } from '../data/action.ts';
import { withQuery } from '../url-state.ts';
import { ConfirmDialog } from './dialog.tsx';
import { counted } from './number.tsx';

/** Refusals that `?force=true` overrules. */
const FORCEABLE = ['broker-has-devices', 'broker-needed'];

type Props = {
  title: string;
  verb: string;
  kind?: 'primary' | 'danger';
  request: Request;
  /** As far as it is known before. */
  devices?: number | undefined;
  isWaiting?: boolean;
  changes: string[];
  /** The path of what the request deletes. */
  removes?: string;
  message: string;
  check?: () => Promise<boolean | undefined>;
  onClose: () => void;
  /** Instead of closing it: where to go when it is done. */
  onDone?: () => void;
  children: ComponentChildren;
};

/**
 * A change of a broker that Berth refuses while devices need it. After such a refusal, the dialog says how many, and can repeat
 * the change with force when their number is typed.
 */
export function ForceDialog({
  kind = 'primary',
  request,
  devices,
  changes,
  removes,
  message,
  check,
  onClose,
  onDone,
  ...props
}: Props) {
  const action = useAction({
    changes,
    message,
    ...(removes ? { removes } : {}),
    ...(check ? { check } : {}),
    done: onDone ?? onClose,
  });
  const { failure } = action;
  const isForced = failure !== undefined && FORCEABLE.includes(failure.code);
  const affected = isForced ? affectedBy(failure) : undefined;
  return (
    <ConfirmDialog
      {...props}
      {...{ action, onClose }}
      kind={isForced ? 'danger' : kind}
      verb={isForced ? `${props.verb} anyway` : props.verb}
      request={isForced ? { ...request, path: withQuery(request.path, { force: true }) } : request}
      devices={affected ?? devices}
    >
      {props.children}
      {failure?.code === 'precondition-failed' && <p>Somebody changed it meanwhile. The page shows it as it is now.</p>}
      {isForced && (
        <p>
          <strong>
            {affected === undefined ? 'Devices' : counted(affected, 'device')} would lose this broker if you do it
            anyway.
          </strong>
        </p>
      )}
    </ConfirmDialog>
  );
}

function affectedBy({ body }: Failure): number | undefined {
  const { devices_affected } = body;
  return typeof devices_affected === 'number' ? devices_affected : undefined;
}
