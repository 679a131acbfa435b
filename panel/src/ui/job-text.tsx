import type { Job } from '../api/types.ts';
import { Badge, type Tone } from './badge.tsx';
import { BrokerLink } from './broker-choice.tsx';
import { Name } from './name.tsx';
import { counted } from './number.tsx';

const TONES: Record<Job['state'], Tone> = {
  queued: 'info',
  running: 'info',
  finished: 'good',
  failed: 'bad',
  cancelled: 'warn',
};

export const isOpen = ({ state }: Pick<Job, 'state'>) => state === 'queued' || state === 'running';

export function JobState({ state }: { state: Job['state'] }) {
  return <Badge tone={TONES[state]}>{state}</Badge>;
}

const LABELS: Record<string, string> = {
  fleet_id: 'fleet',
  device_type: 'type',
  region: 'region',
};

/** A filter as a reader would say it: `fleet north, type sensor`. */
export function FilterText({ filter }: { filter: Record<string, unknown> }) {
  const parts = Object.entries(filter).map(([name, value]) => (
    <span class="part" key={name}>
      <Part name={name} value={value} />
    </span>
  ));
  return <span class="filter-text">{parts.length === 0 ? 'every device' : parts}</span>;
}

function Part({ name, value }: { name: string; value: unknown }) {
  switch (name) {
    case 'unassigned':
      return <>unassigned</>;
    case 'broker_id':
      return (
        <>
          at <BrokerLink id={Number(value)} />
        </>
      );
    case 'uuids':
      return <>{counted((value as string[]).length, 'named device')}</>;
    case 'uuid_count':
      return <>{counted(Number(value), 'named device')}</>;
    case 'tags':
      return (
        <>
          {Object.entries(value as Record<string, string>).map(([tag, text]) => (
            <bdi key={tag}>
              {tag}={text}{' '}
            </bdi>
          ))}
        </>
      );
    default:
      return (
        <>
          {LABELS[name] ?? name} <Name text={String(value)} />
        </>
      );
  }
}

/** Where a job moves its devices. */
export function JobTarget({ job }: { job: Pick<Job, 'target' | 'reverts_job_id'> }) {
  const { target, reverts_job_id } = job;
  if (reverts_job_id !== null) {
    return (
      <>
        back: undoes <a href={`/jobs/${reverts_job_id}`}>job {reverts_job_id}</a>
      </>
    );
  }
  if (target?.mqtt_broker_id == null) return <>no broker: they follow the default one</>;
  return <BrokerLink id={target.mqtt_broker_id} name={target.name} />;
}
