import { useSignal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import { useLocation, useRoute } from 'preact-iso/router';
import { announce } from '../announce.ts';
import { get, type Request } from '../api/client.ts';
import { PostDevicesBulkAssignIdRevertBody } from '../api/constraints.ts';
import { DEVICES, EVENTS, JOBS, STATS, SUMMARY } from '../api/paths.ts';
import type { GetDevicesBulkAssignIdDevicesReply, Job, JobDevice, JobPreview } from '../api/types.ts';
import { type Action, useAction } from '../data/action.ts';
import { changed, useQuery } from '../data/query.ts';
import { Badge, type Tone } from '../ui/badge.tsx';
import { BrokerLink } from '../ui/broker-choice.tsx';
import { Button, ForWriters, LinkButton } from '../ui/button.tsx';
import { CsvDownload } from '../ui/csv-download.tsx';
import { Curl } from '../ui/curl.tsx';
import { ConfirmDialog } from '../ui/dialog.tsx';
import { Empty } from '../ui/empty.tsx';
import { Facts } from '../ui/facts.tsx';
import { Filters, SelectFilter } from '../ui/filters.tsx';
import { filledOf, TextField, useForm } from '../ui/form.tsx';
import { FilterText, isOpen, JobState, JobTarget } from '../ui/job-text.tsx';
import { Loaded } from '../ui/loaded.tsx';
import { Code, Name } from '../ui/name.tsx';
import { counted, formatted } from '../ui/number.tsx';
import { Page, Section } from '../ui/page.tsx';
import { Problem } from '../ui/problem.tsx';
import { Progress } from '../ui/progress.tsx';
import { type Column, Pager, Table } from '../ui/table.tsx';
import { Age, duration, Time } from '../ui/time.tsx';
import { apiPath } from '../url-state.ts';

const POLL_MS = 1_000;
/** What a change of a job makes stale: jobs, devices, and the numbers of brokers. */
const CHANGES = [DEVICES, SUMMARY, STATS, EVENTS];
/** Without a batch for this long, the request that created the job has left it to the worker. */
const WAITING_MS = 4_000;
const CSV_ROWS = 10_000;

const FAILURES: Record<string, string> = {
  'broker-not-found': 'Its broker was deleted.',
  'broker-inactive': 'Its broker is inactive. Activate it, then resume the job.',
  'broker-draining': 'Its broker takes no new devices. Let it take devices again, then resume the job.',
};

export default function JobPage() {
  const { params } = useRoute();
  const path = `${JOBS}/${encodeURIComponent(params.id ?? '')}`;
  const known = useQuery<Job>(path, (job) => (isOpen(job) ? POLL_MS : undefined));
  const job = known.data;
  const open = job && isOpen(job);
  useEffect(() => {
    if (!open) return;
    // It has ended when this runs, or the page was left.
    return () => changed(`${path}/devices`);
  }, [open, path]);
  return (
    <Page
      title={`Job ${params.id}`}
      above={[['Bulk-assign', '/jobs']]}
      actions={job && <Actions job={job} path={path} />}
    >
      <Loaded known={known} path={path}>
        {(loaded) => (
          <>
            <Live job={loaded} at={known.at} />
            <JobFacts job={loaded} />
            <Outcomes job={loaded} path={path} />
            <Curl request={{ method: 'GET', path }} />
          </>
        )}
      </Loaded>
    </Page>
  );
}

/** How far it is. The end is said to screen readers. */
function Live({ job, at }: { job: Job; at: number | undefined }) {
  const wasOpen = useSignal(false);
  useEffect(() => {
    if (wasOpen.value && !isOpen(job)) announce(`Job ${job.id} ${job.state}: ${counted(job.moved, 'device')} moved`);
    wasOpen.value = isOpen(job);
  }, [job.state]);
  const unchangedMs = useUnchanged(job, at);
  const isWaiting = isOpen(job) && job.max_per_minute === null && unchangedMs > WAITING_MS;
  const facts = [
    job.devices_per_second !== null && isOpen(job) && `${formatted(Math.round(job.devices_per_second))} devices/s`,
    job.seconds_left !== null && !isWaiting && `${duration(job.seconds_left)} left`,
    job.max_per_minute !== null && `at most ${counted(job.max_per_minute, 'device')} a minute`,
  ].filter(Boolean);
  return (
    <div class="live">
      <p class="live-line">
        <JobState state={job.state} /> {facts.join(' · ')} {isOpen(job) && <Age at={at} />}
      </p>
      {job.state !== 'finished' && <Progress part={job.progress} label={`Job ${job.id}`} />}
      {isWaiting && <p class="note">A worker continues it within a minute.</p>}
      {job.failure && <p class="problem">{FAILURES[job.failure]}</p>}
      {job.notice && <p class="note">{job.notice}</p>}
    </div>
  );
}

/** For how long, in milliseconds until the last reply, a job has been as it is. */
function useUnchanged(job: Job, at = 0): number {
  const last = useRef({ job, at });
  // A reply 304 keeps the object.
  if (last.current.job !== job) last.current = { job, at };
  return at - last.current.at;
}

function JobFacts({ job }: { job: Job }) {
  const { reverts, reverted_by_job_id } = job;
  const rows: [string, preact.ComponentChildren][] = [
    ['Moved', formatted(job.moved)],
    ['Already there', formatted(job.already_there)],
    ['Skipped', formatted(job.skipped)],
    ['Devices', <FilterText filter={reverts ? reverts.filter : job.filter} />],
    ['To', <JobTarget job={job} />],
    ['Reason', <Name text={job.reason} />],
    [
      'Created',
      <>
        <Time at={job.created_at} /> by <bdi>{job.created_by}</bdi>
      </>,
    ],
    ['Ended', <Time at={job.ended_at} />],
  ];
  if (job.close_former) rows.push(['Former brokers', 'refuse the moved devices']);
  if (reverted_by_job_id !== null) {
    rows.push(['Undone by', <a href={`/jobs/${reverted_by_job_id}`}>job {reverted_by_job_id}</a>]);
  }
  return <Facts rows={rows} />;
}

type Verb = 'cancel' | 'resume' | 'revert';

function Actions({ job, path }: { job: Job; path: string }) {
  const { route } = useLocation();
  const asked = useSignal<Verb | undefined>(undefined);
  const close = () => {
    asked.value = undefined;
  };
  const action = useAction<Job>({
    changes: CHANGES,
    message: ({ id, state }) => `Job ${id}: ${state}`,
    done: ({ data }) => {
      close();
      if (data.id !== job.id) route(`/jobs/${data.id}`);
    },
    check: async () => hasHappened(asked.value, (await get<Job>(path))?.data),
  });
  const ask = (verb: Verb) => () => {
    action.reset();
    asked.value = verb;
  };
  const dialog = { job, path, action, onClose: close };
  return (
    <ForWriters>
      {isOpen(job) && <Button onClick={ask('cancel')}>Cancel the job …</Button>}
      {(job.state === 'failed' || job.state === 'cancelled') && <Button onClick={ask('resume')}>Resume …</Button>}
      {!isOpen(job) && job.moved > 0 && job.reverted_by_job_id === null && (
        <Button onClick={ask('revert')}>Undo …</Button>
      )}
      {job.reverts_job_id === null && <LinkButton href={`/jobs/new?${copyOf(job)}`}>Repeat with changes</LinkButton>}
      {asked.value === 'cancel' && <Cancel {...dialog} />}
      {asked.value === 'resume' && <Resume {...dialog} />}
      {asked.value === 'revert' && <Revert {...dialog} />}
    </ForWriters>
  );
}

/** What the job's state says about a request whose reply was lost. */
function hasHappened(verb: Verb | undefined, job: Job | undefined): boolean | undefined {
  if (!job) return undefined;
  if (verb === 'cancel') return job.state === 'cancelled';
  if (verb === 'resume') return isOpen(job) || job.state === 'finished';
  return job.reverted_by_job_id !== null;
}

type DialogProps = { job: Job; path: string; action: Action<Job>; onClose: () => void };

function Cancel({ job, path, action, onClose }: DialogProps) {
  const request: Request = { method: 'POST', path: `${path}/cancel` };
  return (
    <ConfirmDialog title={`Cancel job ${job.id}?`} verb="Cancel the job" {...{ request, action, onClose }}>
      <p>
        The {counted(job.moved, 'device')} that it has moved stay where they are. The job can be resumed or undone
        later.
      </p>
    </ConfirmDialog>
  );
}

/** Shows first what is left to move. */
function Resume({ job, path, action, onClose }: DialogProps) {
  const request: Request = { method: 'POST', path: `${path}/resume` };
  const preview = useAction<JobPreview>({ changes: [] });
  const left = useSignal<JobPreview | undefined>(undefined);
  const isRevert = job.reverts_job_id !== null;
  useEffect(() => {
    if (isRevert) return;
    const isAll = Object.keys(job.filter).length === 0;
    const body = {
      ...(isAll ? { all: true } : { filter: job.filter }),
      target: { mqtt_broker_id: job.target?.mqtt_broker_id ?? null },
    };
    preview.run({ method: 'POST', path: JOBS, body: { ...body, dry_run: true } }).then((reply) => {
      left.value = reply?.data;
    });
  }, []);
  const devices = left.value?.would_move;
  return (
    <ConfirmDialog
      title={`Resume job ${job.id}?`}
      verb="Resume"
      {...{ request, action, onClose, devices }}
      isWaiting={!isRevert && left.value === undefined}
    >
      {isRevert ? (
        <p>It continues to put back what job {job.reverts_job_id} moved.</p>
      ) : (
        <p>
          {devices === undefined ? 'Counting what is left …' : `${counted(devices, 'device')} would still move to `}
          {devices !== undefined && <JobTarget job={job} />}
        </p>
      )}
      <Problem failure={preview.failure} />
    </ConfirmDialog>
  );
}

function Revert({ job, path, action, onClose }: DialogProps) {
  const form = useForm(PostDevicesBulkAssignIdRevertBody, () => ({ reason: '' }));
  const request: Request = { method: 'POST', path: `${path}/revert`, body: filledOf(form) };
  return (
    <ConfirmDialog
      title={`Undo job ${job.id}?`}
      verb="Undo"
      {...{ request, action, onClose }}
      devices={job.moved}
      onSubmit={form.check}
    >
      <p>
        Each of the {counted(job.moved, 'device')} that is still where this job put it returns to its previous broker.
        What somebody moved since is skipped.
      </p>
      <TextField form={form} name="reason" label="Reason" />
    </ConfirmDialog>
  );
}

/** The query of `/jobs/new` that fills its form like this job. */
function copyOf({ filter, target }: Job): string {
  const {
    tags,
    uuids,
    uuid_count: _,
    ...others
  } = filter as { tags?: Record<string, string>; uuids?: string[]; uuid_count?: number };
  const members = Object.entries(others).map(([name, value]) => [name, String(value)]);
  if (tags)
    members.push([
      'tags',
      Object.entries(tags)
        .map(([name, value]) => `${name}:${value}`)
        .join(),
    ]);
  if (Object.keys(filter).length === 0) members.push(['all', 'true']);
  return String(
    new URLSearchParams([...members, ['target', String(target?.mqtt_broker_id ?? 'none')]] as [string, string][]),
  );
}

const OUTCOMES: Record<JobDevice['outcome'], Tone> = { moved: 'good', 'already-there': 'neutral', skipped: 'warn' };
const REASONS: Record<string, string> = {
  'changed-since': 'somebody moved it after the job was created',
  'device-deleted': 'it was deleted',
  'broker-deleted': 'its previous broker was deleted',
  'broker-inactive': 'its previous broker is inactive',
};
const COLUMNS: Column<JobDevice>[] = [
  {
    title: 'Device',
    kind: 'wide',
    cell: ({ device_uuid }) => (
      <a href={`/devices/${encodeURIComponent(device_uuid)}`}>
        <Code text={device_uuid} />
      </a>
    ),
  },
  { title: 'Outcome', cell: ({ outcome }) => <Badge tone={OUTCOMES[outcome]}>{outcome.replace('-', ' ')}</Badge> },
  {
    title: 'From',
    cell: ({ from_broker_id, from_broker_name }) => <BrokerLink id={from_broker_id} name={from_broker_name} />,
  },
  { title: 'To', cell: ({ to_broker_id, to_broker_name }) => <BrokerLink id={to_broker_id} name={to_broker_name} /> },
  { title: 'Why', kind: 'minor', cell: ({ reason }) => <>{REASONS[reason] ?? ''}</> },
  { title: 'At', kind: 'minor', cell: ({ at }) => <Time at={at} /> },
];

/** What the job did with each device. */
function Outcomes({ job, path }: { job: Job; path: string }) {
  const { query } = useLocation();
  const devices = apiPath(`${path}/devices`, { outcome: query.outcome, after: query.after, limit: 50 });
  const known = useQuery<GetDevicesBulkAssignIdDevicesReply>(devices);
  const csv = apiPath(`${path}/devices`, { outcome: query.outcome, limit: CSV_ROWS });
  return (
    <Section
      title="Devices"
      actions={known.data && known.data.count > 0 && <CsvDownload path={csv} fileName={`job-${job.id}.csv`} />}
    >
      <Filters>
        <SelectFilter
          name="outcome"
          label="Outcome"
          options={[
            ['', 'all'],
            ['moved', 'moved'],
            ['already-there', 'already there'],
            ['skipped', 'skipped'],
          ]}
        />
      </Filters>
      <Loaded known={known} path={devices}>
        {(page) => (
          <>
            <Table
              caption={`Devices of job ${job.id}, in its order`}
              columns={COLUMNS}
              rows={page.devices}
              keyOf={({ id }) => id}
              empty={<Empty title={isOpen(job) ? 'None yet' : 'None'} />}
            />
            <Pager next={page.next}>
              <Age at={known.at} />
            </Pager>
          </>
        )}
      </Loaded>
    </Section>
  );
}
