import { useId, useState } from 'preact/hooks';
import type { Failure } from '../api/failure.ts';
import { EVENTS } from '../api/paths.ts';
import type { GetEventsReply } from '../api/types.ts';
import { mergeOf } from '../data/merge.ts';
import { useQuery } from '../data/query.ts';
import { apiPath } from '../url-state.ts';
import { Button } from './button.tsx';
import { Dialog } from './dialog.tsx';
import { changesBetween, Diff, shown } from './diff.tsx';
import type { Values } from './form.tsx';
import { FormBox } from './form-box.tsx';
import { Name } from './name.tsx';
import { Time } from './time.tsx';

/** A row as another operator left it, and its tag, when a change was refused because of that. */
export function changedMeanwhile<Row>(failure: Failure | undefined): { row: Row; etag: string } | undefined {
  if (failure?.code !== 'precondition-failed') return undefined;
  const { current, etag } = failure.body as { current?: Row; etag?: string };
  return current && etag ? { row: current, etag } : undefined;
}

type Row = Record<string, unknown>;
type Props = {
  /** `broker`, `key`: what was changed, in the words of the history and of a sentence. */
  what: { filter: 'broker_id' | 'key_id'; id: number | string; noun: string };
  /** The rows that this operator saw, and as it is now. */
  before: Row;
  now: Row;
  /** The same as values of the form, and what was typed. */
  base: Values;
  theirs: Values;
  mine: Values;
  /** Receives the merged values. Nothing is saved by it. */
  onMerge: (values: Values) => void;
  onClose: () => void;
};

/** What changes without an operator, or follows from another member. */
const NOT_COMPARED = [
  'updated_at',
  'updated_by',
  'last_connected_at',
  'last_used_at',
  'devices_provisioned',
  'ca_cert_info',
  'client_cert_info',
];

/**
 * After 412: shows what another operator changed, and merges it with what was typed. Where both changed the same field, this
 * operator chooses.
 */
export function MergeDialog({ what, before, now, base, theirs, mine, onMerge, onClose }: Props) {
  const [chosen, setChosen] = useState<Record<string, 'mine' | 'theirs'>>({});
  const { values, conflicts } = mergeOf(base, mine, theirs);
  const changes = changesBetween(comparable(before), comparable(now));
  const isDecided = conflicts.every((field) => field in chosen);
  const merge = () => {
    const decided = conflicts.map((field) => [field, (chosen[field] === 'theirs' ? theirs : mine)[field]]);
    onMerge({ ...values, ...Object.fromEntries(decided) });
  };
  return (
    <Dialog title={`Somebody changed this ${what.noun} meanwhile`} onClose={onClose} isWide>
      <FormBox onSubmit={() => isDecided && merge()}>
        <div class="dialog-text">
          <LastChange {...what} />
          {changes.length > 0 ? (
            <Diff changes={changes} />
          ) : (
            <p>Of what can be shown, nothing differs. A password or private key may be another one.</p>
          )}
          {conflicts.length > 0 && <p>You changed the same. Choose what it is to be:</p>}
          {conflicts.map((field) => (
            <Choice
              key={field}
              {...{ field }}
              theirs={theirs[field]}
              mine={mine[field]}
              chosen={chosen[field]}
              choose={(side) => setChosen({ ...chosen, [field]: side })}
            />
          ))}
          <p>The form then has their changes and yours. Nothing is saved until you save it.</p>
        </div>
        <div class="dialog-actions">
          <Button onClick={onClose}>Cancel</Button>
          <Button type="submit" kind="primary" disabled={!isDecided}>
            Merge
          </Button>
        </div>
      </FormBox>
    </Dialog>
  );
}

/** In the form, after a merge. */
export function MergedNote() {
  return (
    <p class="note" role="status">
      The form has the changes of the other operator now, and yours. Nothing is saved yet.
    </p>
  );
}

function comparable(row: Row): Row {
  return Object.fromEntries(Object.entries(row).filter(([name]) => !NOT_COMPARED.includes(name)));
}

/** Who changed it last, and when. */
function LastChange({ filter, id }: Props['what']) {
  const { data } = useQuery<GetEventsReply>(apiPath(EVENTS, { kind: 'operator', [filter]: id, limit: 1 }));
  const last = data?.items[0];
  if (!last) return null;
  return (
    <p>
      <Name text={last.actor} />, <Time at={last.at} />. <a href={`/history?${filter}=${id}`}>History</a>
    </p>
  );
}

type ChoiceProps = {
  field: string;
  theirs: string | boolean | undefined;
  mine: string | boolean | undefined;
  chosen: 'mine' | 'theirs' | undefined;
  choose: (side: 'mine' | 'theirs') => void;
};

function Choice({ field, theirs, mine, chosen, choose }: ChoiceProps) {
  const name = useId();
  const side = (which: 'mine' | 'theirs', label: string, value: string | boolean | undefined) => (
    <label class="row tight">
      <input type="radio" {...{ name }} checked={chosen === which} onChange={() => choose(which)} />
      {label}: {shown(value)}
    </label>
  );
  return (
    <fieldset class="choice">
      <legend>
        <code>{field}</code>
      </legend>
      {side('theirs', 'Theirs', theirs)}
      {side('mine', 'Yours', mine)}
    </fieldset>
  );
}
