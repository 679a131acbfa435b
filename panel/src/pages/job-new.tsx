import { useSignal } from '@preact/signals';
import { useEffect, useMemo } from 'preact/hooks';
import { useLocation } from 'preact-iso/router';
import { get, type Request } from '../api/client.ts';
import { DEVICES, EVENTS, FLEETS, JOBS, STATS, SUMMARY } from '../api/paths.ts';
import type { Fields } from '../api/rules.ts';
import type { GetDevicesBulkAssignReply, GetFleetsReply, Job, JobPreview } from '../api/types.ts';
import { useAction } from '../data/action.ts';
import { useBrokers } from '../data/brokers.ts';
import { useQuery } from '../data/query.ts';
import { randomHex } from '../random.ts';
import { canWrite } from '../session.ts';
import { BrokerLink, brokerOptions } from '../ui/broker-choice.tsx';
import { Button, LinkButton } from '../ui/button.tsx';
import { Curl } from '../ui/curl.tsx';
import { ConfirmDialog } from '../ui/dialog.tsx';
import { AreaField, CheckField, SelectField, TextField, useForm, type Values } from '../ui/form.tsx';
import { FormBox } from '../ui/form-box.tsx';
import { FilterText } from '../ui/job-text.tsx';
import { Name } from '../ui/name.tsx';
import { Count, counted } from '../ui/number.tsx';
import { Page, Section } from '../ui/page.tsx';
import { ActionProblem } from '../ui/problem.tsx';
import { ReadOnly } from '../ui/read-only.tsx';
import { Table } from '../ui/table.tsx';
import { withQuery } from '../url-state.ts';

const CHANGES = [DEVICES, SUMMARY, STATS, EVENTS];
/** A longer list of uuids is not kept in the URL. */
const MAX_URL_UUIDS = 2_000;

const RULES: Fields = {
  fleet_id: { type: 'string', maxLength: 100 },
  device_type: { type: 'string', maxLength: 100 },
  region: { type: 'string', maxLength: 100 },
  max_per_minute: { type: 'integer', min: 1, max: 100_000_000 },
  reason: { type: 'string', maxLength: 1000 },
  target: { required: true },
};
/** The members of a filter: one field each. */
const FILTERS = ['fleet_id', 'broker_id', 'device_type', 'region', 'tags', 'uuids'] as const;

export default function JobNew() {
  if (!canWrite.value) return <ReadOnly title="Move devices" />;
  return (
    <Page title="Move devices" above={[['Bulk-assign', '/jobs']]}>
      <JobForm />
    </Page>
  );
}

/** The form begins with what is in the URL, so that a link can fill it. */
function valuesOf(query: Record<string, string>): Values {
  const { all, unassigned, close_former, target = '', max_per_minute = '', reason = '' } = query;
  const filters = Object.fromEntries(FILTERS.map((name) => [name, query[name] ?? '']));
  return {
    ...filters,
    ...{ all: all === 'true', unassigned: unassigned === 'true', close_former: close_former === 'true' },
    ...{ target, max_per_minute, reason },
  };
}

function JobForm() {
  const { query, url, route } = useLocation();
  const form = useForm(RULES, () => valuesOf(query));
  const brokers = useBrokers();
  const fleets = useQuery<GetFleetsReply>(FLEETS).data?.fleets;
  const preview = useAction<JobPreview>({ changes: [] });
  /** What the dry run was about; another order needs another dry run. */
  const shown = useSignal<{ body: string; preview: JobPreview; newest: number } | undefined>(undefined);
  const isRunning = useSignal(false);
  const body = bodyOf(form.values);
  const key = JSON.stringify(body);
  useEffect(() => form.fail(withFieldNames(preview.failure)), [preview.failure]);
  const dryRun = async () => {
    if (!form.check()) return;
    route(withQuery(url, queryOf(form.values)), true);
    shown.value = undefined;
    const newest = await newestJob().catch(() => 0);
    const reply = await preview.run({ method: 'POST', path: JOBS, body: { ...body, dry_run: true } });
    if (reply) shown.value = { body: key, preview: reply.data, newest };
  };
  const current = shown.value?.body === key ? shown.value : undefined;
  return (
    <>
      <FormBox class="form" onSubmit={dryRun}>
        <fieldset>
          <legend>Which devices</legend>
          <CheckField form={form} name="all" label="Every device" />
          {!form.values.all && (
            <FilterFields form={form} brokers={brokers} fleets={fleets?.map((fleet) => fleet.fleet_id)} />
          )}
        </fieldset>
        <fieldset>
          <legend>Where to</legend>
          <div class="fields">
            <SelectField
              form={form}
              name="target"
              label="Broker"
              options={[
                ['', 'choose one'],
                ...brokerOptions(brokers, /^\d+$/.test(String(form.values.target)) ? String(form.values.target) : ''),
                ['default', 'the broker that is the default now'],
                ['none', 'no broker of their own: they follow the default one'],
              ]}
            />
            <TextField
              form={form}
              name="max_per_minute"
              label="At most, devices a minute"
              hint="Empty: as fast as the database allows"
            />
          </div>
          <CheckField
            form={form}
            name="close_former"
            label="Former brokers refuse them immediately"
            hint="Without it, the broker that a device was last handed accepts it until it has followed"
          />
          <TextField form={form} name="reason" label="Reason" hint="For the record" />
        </fieldset>
        <ActionProblem action={preview} shownFields={Object.keys(form.values)} />
        <div class="form-end">
          <Button type="submit" kind="primary" isBusy={preview.isBusy}>
            Show what would move
          </Button>
          <LinkButton href="/jobs">Cancel</LinkButton>
        </div>
        <Curl request={{ method: 'POST', path: JOBS, body: { ...body, dry_run: true } }} />
      </FormBox>
      <div aria-live="polite">
        {current && (
          <Preview
            of={current.preview}
            onRun={() => {
              isRunning.value = true;
            }}
          />
        )}
      </div>
      {isRunning.value && current && (
        <Run
          body={body}
          preview={current.preview}
          newest={current.newest}
          onClose={() => {
            isRunning.value = false;
          }}
        />
      )}
    </>
  );
}

type FilterProps = {
  form: ReturnType<typeof useForm>;
  brokers: ReturnType<typeof useBrokers>;
  fleets: string[] | undefined;
};

function FilterFields({ form, brokers, fleets = [] }: FilterProps) {
  return (
    <>
      <p class="hint">Devices that match every field that is filled.</p>
      <div class="fields">
        <TextField form={form} name="fleet_id" label="Fleet" list="fleets" />
        <datalist id="fleets">
          {fleets.map((fleet) => (
            <option key={fleet} value={fleet} />
          ))}
        </datalist>
        <SelectField
          form={form}
          name="broker_id"
          label="Assigned to"
          options={[['', 'any broker, or none'], ...brokerOptions(brokers, String(form.values.broker_id))]}
        />
        <TextField form={form} name="device_type" label="Type" />
        <TextField form={form} name="region" label="Region" />
        <TextField
          form={form}
          name="tags"
          label="Tags"
          placeholder="site:berlin,line:3"
          hint="Devices with all of these"
        />
        <CheckField form={form} name="unassigned" label="Only devices without an assignment" />
      </div>
      <AreaField form={form} name="uuids" label="Uuids" hint="At most 1,000, separated by spaces or lines" isCode />
    </>
  );
}

/** The order as the API takes it. What is empty is left out. */
function bodyOf(values: Values): Record<string, unknown> {
  const { all, unassigned, close_former, target, reason, max_per_minute } = values;
  const { tags, uuids, broker_id, ...texts } = Object.fromEntries(FILTERS.map((name) => [name, String(values[name])]));
  const filter = {
    ...(unassigned ? { unassigned: true } : {}),
    ...Object.fromEntries(Object.entries(texts).filter(([, text]) => text !== '')),
    ...(broker_id ? { broker_id: Number(broker_id) } : {}),
    ...(tags ? { tags: tagsOf(tags) } : {}),
    ...(uuids?.trim() ? { uuids: uuids.trim().split(/[\s,;]+/) } : {}),
  };
  return {
    ...(all ? { all: true } : { filter }),
    target: { mqtt_broker_id: targetOf(String(target)) },
    ...(close_former ? { close_former: true } : {}),
    ...(max_per_minute ? { max_per_minute: Number(max_per_minute) } : {}),
    ...(reason ? { reason } : {}),
  };
}

function targetOf(target: string): number | null | string {
  if (target === 'none') return null;
  return target === 'default' ? target : Number(target);
}

/** `site:berlin,line:3`, as in the query of `GET /devices`. */
function tagsOf(text: string): Record<string, string> {
  const pairs = text.split(',').map((pair) => {
    const [name = '', ...value] = pair.split(':');
    return [name.trim(), value.join(':').trim()];
  });
  return Object.fromEntries(pairs);
}

function queryOf(values: Values): Record<string, string | boolean | undefined> {
  const members = Object.entries(values).map(([name, value]) => [name, value === false ? undefined : value]);
  const { uuids, ...query } = Object.fromEntries(members);
  return { ...query, uuids: String(uuids).length <= MAX_URL_UUIDS ? uuids : undefined };
}

/** The API names members by their path, `filter.fleet_id`; the form by the last part. */
function withFieldNames<F extends { errors: { path: string; message: string }[] } | undefined>(failure: F): F {
  if (!failure) return failure;
  const errors = failure.errors.map(({ path, message }) => {
    const [first, second] = path.split('.');
    return { message, path: first === 'filter' && second ? second : (first ?? '') };
  });
  return Object.assign(Object.create(Object.getPrototypeOf(failure)), failure, { errors });
}

/** What the job would do. */
function Preview({ of, onRun }: { of: JobPreview; onRun: () => void }) {
  const { would_move, already_there, by_broker, sample, notice } = of;
  return (
    <Section
      title={would_move === 0 ? 'Nothing would move' : `${counted(would_move, 'device')} would move`}
      note={
        already_there > 0 ? `${counted(already_there, 'device')} that match belong to the target already.` : undefined
      }
      actions={
        would_move > 0 && (
          <Button kind="primary" onClick={onRun}>
            Move {counted(would_move, 'device')} …
          </Button>
        )
      }
    >
      {notice && <p class="note">{notice}</p>}
      {would_move > 0 && (
        <>
          <Table
            caption="Where they are assigned now"
            rows={by_broker}
            keyOf={({ mqtt_broker_id }) => mqtt_broker_id ?? 0}
            columns={[
              {
                title: 'Assigned to',
                kind: 'wide',
                cell: ({ mqtt_broker_id, name }) => <BrokerLink id={mqtt_broker_id} name={name} />,
              },
              { title: 'Devices', kind: 'number', cell: ({ devices }) => <Count value={devices} /> },
              {
                title: 'Part',
                cell: ({ devices }) => <meter max={would_move} value={devices} aria-label="Part of all" />,
              },
            ]}
          />
          <Table
            caption="The first devices that would move"
            rows={sample}
            keyOf={({ uuid }) => uuid}
            columns={[
              {
                title: 'For example',
                kind: 'wide',
                cell: ({ uuid }) => (
                  <a href={`/devices/${encodeURIComponent(uuid)}`}>
                    <Name text={uuid} />
                  </a>
                ),
              },
              { title: 'Fleet', cell: ({ fleet_id }) => <Name text={fleet_id} /> },
              { title: 'Assigned to', cell: ({ mqtt_broker_id }) => <BrokerLink id={mqtt_broker_id} /> },
            ]}
          />
        </>
      )}
    </Section>
  );
}

type RunProps = { body: Record<string, unknown>; preview: JobPreview; newest: number; onClose: () => void };

function Run({ body, preview, newest, onClose }: RunProps) {
  const { route } = useLocation();
  /** One order: a repeat after a lost reply finds the same job. */
  const idempotencyKey = useMemo(() => `panel-${randomHex(16)}`, []);
  const found = useSignal<number | undefined>(undefined);
  const action = useAction<Job>({
    changes: CHANGES,
    message: ({ id, state }) => `Job ${id}: ${state}`,
    done: ({ data }) => route(`/jobs/${data.id}`),
    check: async () => {
      const reply = await get<GetDevicesBulkAssignReply>(JOBS);
      found.value = reply?.data.jobs.find((job) => job.id > newest && isOrder(job, body))?.id;
      return found.value !== undefined;
    },
  });
  const request: Request = { method: 'POST', path: JOBS, body, idempotencyKey };
  return (
    <ConfirmDialog
      title={`Move ${counted(preview.would_move, 'device')}?`}
      verb="Move them"
      devices={preview.would_move}
      {...{ request, action, onClose }}
    >
      <p>
        <FilterText filter={(body.filter ?? {}) as Record<string, unknown>} /> to{' '}
        {preview.target.mqtt_broker_id === null ? (
          'the default broker'
        ) : (
          <BrokerLink id={preview.target.mqtt_broker_id} name={preview.target.name} />
        )}
        . The job can be cancelled while it runs, and undone afterwards.
      </p>
      {found.value !== undefined && (
        <p>
          It is <a href={`/jobs/${found.value}`}>job {found.value}</a>.
        </p>
      )}
    </ConfirmDialog>
  );
}

async function newestJob(): Promise<number> {
  const reply = await get<GetDevicesBulkAssignReply>(`${JOBS}?limit=1`);
  return reply?.data.jobs[0]?.id ?? 0;
}

/** Whether a job of the list is this order. A list has only the number of a filter's uuids. */
function isOrder({ filter, target }: Job, body: Record<string, unknown>): boolean {
  const { uuids, ...others } = (body.filter ?? {}) as { uuids?: string[] };
  const wanted = { ...others, ...(uuids ? { uuid_count: uuids.length } : {}) } as Record<string, unknown>;
  const { mqtt_broker_id } = body.target as { mqtt_broker_id: unknown };
  const isSameFilter =
    Object.keys(wanted).length === Object.keys(filter).length &&
    Object.entries(wanted).every(([name, value]) => JSON.stringify(filter[name]) === JSON.stringify(value));
  return isSameFilter && (mqtt_broker_id === 'default' || target?.mqtt_broker_id === mqtt_broker_id);
}
