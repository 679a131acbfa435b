import type { ListedBroker } from '../api/types.ts';
import { Badge } from './badge.tsx';
import { Name } from './name.tsx';

/** What a broker is for devices now. */
export function BrokerState({
  broker,
}: {
  broker: Pick<ListedBroker, 'is_active' | 'is_default' | 'accepts_new_devices'>;
}) {
  const { is_active, is_default, accepts_new_devices } = broker;
  return (
    <span class="row tight">
      {is_default && <Badge tone="info">default</Badge>}
      {!is_active ? (
        <Badge tone="bad">inactive</Badge>
      ) : accepts_new_devices ? (
        <Badge tone="good">active</Badge>
      ) : (
        <Badge tone="warn">draining</Badge>
      )}
    </span>
  );
}

/** A broker's name as a link to its page. Without an id or a name, what is known. */
export function BrokerLink({ id, name }: { id: number | null | undefined; name: string | null | undefined }) {
  if (id === null || id === undefined) return <Name text={name} />;
  return (
    <a href={`/brokers/${id}`}>
      <Name text={name ?? `broker ${id}`} />
    </a>
  );
}
