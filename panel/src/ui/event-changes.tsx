import type { GetEventsReply, ListedBroker } from '../api/types.ts';
import { BrokerLink } from './broker-parts.tsx';
import { type Change, changesBetween, shown } from './diff.tsx';
import { Time } from './time.tsx';

type Event = Pick<GetEventsReply['items'][number], 'type' | 'before' | 'after'>;

/** More fields than this are folded. */
const MAX_OPEN = 3;

/** What an event says of its target before and after: the fields that differ. Many of them open on demand. */
export function EventChanges({ event, brokers }: { event: Event; brokers: ListedBroker[] }) {
  const changes = changesOf(event);
  if (changes.length === 0) return <span class="muted">—</span>;
  const list = (
    <ul class="changes">
      {changes.map((change) => (
        <li key={change.field}>
          <code>{labelOf(change.field)}</code>{' '}
          {event.after !== null && change.before !== undefined && (
            <>
              <del>{valueAs(change.field, change.before, event.before, brokers)}</del> →{' '}
            </>
          )}
          {event.after === null ? (
            <del>{valueAs(change.field, change.before, event.before, brokers)}</del>
          ) : (
            <ins>{valueAs(change.field, change.after, event.after, brokers)}</ins>
          )}
        </li>
      ))}
    </ul>
  );
  if (changes.length <= MAX_OPEN) return list;
  return (
    <details>
      <summary>{changes.length} values</summary>
      {list}
    </details>
  );
}

/** The name of a broker is shown with its id. */
function changesOf({ before, after }: Event): Change[] {
  return changesBetween(before ?? {}, after ?? {}).filter(({ field }) => !field.endsWith('broker_name'));
}

const labelOf = (field: string) => field.replace(/^mqtt_broker_id$/, 'broker').replace(/_broker_id$/, '_broker');

type Values = Event['before'];

function valueAs(field: string, value: unknown, values: Values, brokers: ListedBroker[]) {
  if (field.endsWith('broker_id')) {
    if (value === null || value === undefined) return <span class="muted">the default</span>;
    if (typeof value === 'string') return value;
    const name = values?.mqtt_broker_name ?? brokers.find(({ id }) => id === value)?.name;
    return <BrokerLink id={Number(value)} name={typeof name === 'string' ? name : undefined} />;
  }
  if (field === 'reverts_job_id' && value) return <a href={`/jobs/${value}`}>job {String(value)}</a>;
  if (field.endsWith('_at') && typeof value === 'string') return <Time at={value} />;
  return shown(value);
}
