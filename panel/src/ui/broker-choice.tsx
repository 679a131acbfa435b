import type { ListedBroker } from '../api/types.ts';
import { useBrokers } from '../data/brokers.ts';
import { Name } from './name.tsx';

/** A broker's name with what it takes, for a list of choices. */
export function brokerLabel({ name, is_active, accepts_new_devices, is_default }: ListedBroker): string {
  const facts = [
    is_default && 'default',
    is_active === false && 'inactive',
    is_active !== false && !accepts_new_devices && 'draining',
  ];
  const known = facts.filter(Boolean).join(', ');
  return known ? `${name} (${known})` : name;
}

/** Brokers as the options of a select field. `kept`: the id that the row has, listed also if the broker is gone. */
export function brokerOptions(brokers: ListedBroker[], kept = ''): [value: string, text: string][] {
  const options = brokers.map((broker): [string, string] => [String(broker.id), brokerLabel(broker)]);
  if (kept === '' || options.some(([id]) => id === kept)) return options;
  return [...options, [kept, `broker ${kept}`]];
}

/** A link to a broker by its id; its name as soon as it is known. */
export function BrokerLink({ id, name }: { id: number | null | undefined; name?: string | null }) {
  const brokers = useBrokers();
  if (id === null || id === undefined) return <span class="muted">none</span>;
  const known = name ?? brokers.find((broker) => broker.id === id)?.name;
  return (
    <a href={`/brokers/${id}`}>
      <Name text={known ?? `broker ${id}`} />
    </a>
  );
}
