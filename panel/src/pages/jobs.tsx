import { useLocation } from 'preact-iso/router';
import { JOBS } from '../api/paths.ts';
import type { GetDevicesBulkAssignReply, Job } from '../api/types.ts';
import { useQuery } from '../data/query.ts';
import { ForWriters, LinkButton } from '../ui/button.tsx';
import { Curl } from '../ui/curl.tsx';
import { Empty } from '../ui/empty.tsx';
import { FilterText, isOpen, JobState, JobTarget } from '../ui/job-text.tsx';
import { Loaded } from '../ui/loaded.tsx';
import { Name } from '../ui/name.tsx';
import { Count } from '../ui/number.tsx';
import { Page } from '../ui/page.tsx';
import { Progress } from '../ui/progress.tsx';
import { type Column, Pager, Table } from '../ui/table.tsx';
import { Age, Time } from '../ui/time.tsx';
import { apiPath } from '../url-state.ts';

const POLL_MS = 2_000;

const COLUMNS: Column<Job>[] = [
  { title: 'Job', cell: ({ id }) => <a href={`/jobs/${id}`}>Job {id}</a> },
  { title: 'State', cell: (job) => <LiveState listed={job} /> },
  {
    title: 'Devices',
    kind: 'wide',
    cell: (job) => (job.reverts ? <FilterText filter={job.reverts.filter} /> : <FilterText filter={job.filter} />),
  },
  { title: 'To', cell: (job) => <JobTarget job={job} /> },
  { title: 'Moved', kind: 'number', cell: ({ moved }) => <Count value={moved} /> },
  { title: 'Reason', kind: 'minor', cell: ({ reason }) => <Name text={reason} /> },
  { title: 'Created', kind: 'minor', cell: ({ created_at }) => <Time at={created_at} /> },
];

export default function Jobs() {
  const { query } = useLocation();
  const path = apiPath(JOBS, { after: query.after });
  const known = useQuery<GetDevicesBulkAssignReply>(path);
  const newJob = (
    <ForWriters>
      <LinkButton href="/jobs/new" kind="primary">
        Move devices
      </LinkButton>
    </ForWriters>
  );
  return (
    <Page title="Bulk-assign" actions={newJob}>
      <Loaded known={known} path={path}>
        {({ jobs, next }) => (
          <>
            <Table
              caption="Jobs, newest first"
              columns={COLUMNS}
              rows={jobs}
              keyOf={({ id }) => id}
              empty={
                <Empty title="No jobs yet">
                  <p>
                    A job moves many devices to a broker. It shows first what it would do, and a finished job can be
                    undone.
                  </p>
                </Empty>
              }
            />
            <Pager next={next}>
              <Age at={known.at} />
            </Pager>
            <Curl request={{ method: 'GET', path }} />
          </>
        )}
      </Loaded>
    </Page>
  );
}

/** The state of a job; an open one is asked for, and for nothing else. */
function LiveState({ listed }: { listed: Job }) {
  const path = isOpen(listed) ? `${JOBS}/${listed.id}` : undefined;
  const { data: job = listed } = useQuery<Job>(path, (now) => (isOpen(now) ? POLL_MS : undefined));
  return isOpen(job) ? <Progress part={job.progress} label={`Job ${job.id}`} /> : <JobState state={job.state} />;
}
