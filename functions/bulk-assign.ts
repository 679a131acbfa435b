import * as z from 'zod/mini';
import { assignUnassigned as createScheduledJob } from '../lib/bulk-assign/assign-unassigned.ts';
import { cancelJob } from '../lib/bulk-assign/cancel-job.ts';
import { createJob } from '../lib/bulk-assign/create-job.ts';
import { findJob } from '../lib/bulk-assign/find-job.ts';
import { idempotencyKey } from '../lib/bulk-assign/idempotency-key.ts';
import { jobParams, jobsQuery, newJobBody } from '../lib/bulk-assign/input.ts';
import { JOB_DEVICE_COLUMNS, jobDevice, jobDevicesQuery, listJobDevices } from '../lib/bulk-assign/list-job-devices.ts';
import { listJobs } from '../lib/bulk-assign/list-jobs.ts';
import { preview, previewReply } from '../lib/bulk-assign/preview.ts';
import { reportStuckJobs } from '../lib/bulk-assign/report-stuck-jobs.ts';
import { resumeJob } from '../lib/bulk-assign/resume-job.ts';
import { revertJob } from '../lib/bulk-assign/revert-job.ts';
import { formatJob, isOpen, type Job, jobReply } from '../lib/bulk-assign/row.ts';
import { workOn, workOnOpenJobs } from '../lib/bulk-assign/worker.ts';
import {
  brokerDraining,
  brokerInactive,
  brokerNotFound,
  bulkAssignJobEnded,
  bulkAssignJobNotFound,
  bulkAssignJobOpen,
  bulkAssignJobReverted,
  idempotencyKeyReused,
  noDefaultBroker,
} from '../lib/errors.ts';
import { admin } from '../lib/http/admin.ts';
import { csv, wantsCsv } from '../lib/http/csv.ts';
import { endpoint, routes } from '../lib/http/endpoint.ts';
import { nextLink } from '../lib/http/page.ts';
import { scheduled } from '../lib/http/scheduled.ts';

const path = '/api/v1/devices/bulk-assign';
/** Time of the routes that work on the job within the request. */
const budgetMs = 20_000;
const workReplies = {
  200: { description: 'The job has ended', body: jobReply },
  202: {
    description: 'The job is open; the schedule continues it',
    body: jobReply,
    headers: { Location: 'The job' },
  },
};
const reply = (job: Job) => ({
  status: isOpen(job) ? 202 : 200,
  headers: { location: `${path}/${job.id}` },
  body: formatJob(job),
});

const create = endpoint({
  method: 'POST',
  path,
  summary: 'Move many devices to a broker',
  description:
    'Creates a job and works on it for up to 20 s. A request that is repeated with the same `Idempotency-Key` returns the same job. `dry_run` only returns what would move.',
  auth: admin,
  body: newJobBody,
  maxBodyBytes: 300 * 1024,
  budgetMs,
  replies: {
    ...workReplies,
    200: { description: 'The job has ended, or the result of the dry run', body: z.union([jobReply, previewReply]) },
  },
  problems: [brokerNotFound, brokerInactive, brokerDraining, noDefaultBroker, idempotencyKeyReused],
  run: async (ctx, { body, headers }) => {
    if (body.dry_run) return { body: await preview(ctx, body) };
    const id = await createJob(ctx, body, idempotencyKey(headers['idempotency-key']));
    return reply(await workOn(ctx, id));
  },
});

const list = endpoint({
  method: 'GET',
  path,
  summary: 'List bulk-assign jobs',
  auth: admin,
  query: jobsQuery,
  replies: {
    200: {
      description: 'Newest first',
      body: z.object({ count: z.int(), jobs: z.array(jobReply), next: z.optional(z.string()) }),
    },
  },
  run: async (ctx, { query }) => {
    const { nextAfter, ...page } = await listJobs(ctx, query);
    return { body: { ...page, ...nextLink(path, query, { after: nextAfter }) } };
  },
});

const get = endpoint({
  method: 'GET',
  path: `${path}/{id}`,
  summary: 'Get a bulk-assign job and its progress',
  auth: admin,
  params: jobParams,
  replies: { 200: { description: 'The job', body: jobReply } },
  problems: [bulkAssignJobNotFound],
  run: async (ctx, { params }) => ({ body: formatJob(await findJob(ctx, params.id)) }),
});

const devices = endpoint({
  method: 'GET',
  path: `${path}/{id}/devices`,
  summary: 'List what a job did with each device',
  description: 'JSON, or CSV with `Accept: text/csv`. The link to the next page of CSV is in the header `Link`.',
  auth: admin,
  params: jobParams,
  query: jobDevicesQuery,
  replies: {
    200: {
      description: 'Devices in the order of the job',
      body: z.object({ count: z.int(), devices: z.array(jobDevice), next: z.optional(z.string()) }),
      text: 'text/csv',
      headers: { Link: 'The next page of CSV, `rel="next"`' },
    },
  },
  problems: [bulkAssignJobNotFound],
  run: async (ctx, { params, query, headers }) => {
    const { nextAfter, ...page } = await listJobDevices(ctx, params.id, query);
    const { next } = nextLink(`${path}/${params.id}/devices`, query, { after: nextAfter });
    if (!wantsCsv(headers)) return { body: { ...page, ...(next ? { next } : {}) } };
    return {
      text: csv(JOB_DEVICE_COLUMNS, page.devices),
      headers: { 'content-type': 'text/csv; charset=utf-8', ...(next ? { link: `<${next}>; rel="next"` } : {}) },
    };
  },
});

const cancel = endpoint({
  method: 'POST',
  path: `${path}/{id}/cancel`,
  summary: 'Stop a job',
  description: 'Devices that it has moved stay where they are. The job can be resumed or reverted.',
  auth: admin,
  params: jobParams,
  replies: { 200: { description: 'The cancelled job', body: jobReply } },
  problems: [bulkAssignJobNotFound, bulkAssignJobEnded],
  run: async (ctx, { params }) => ({ body: formatJob(await cancelJob(ctx, params.id)) }),
});

const resume = endpoint({
  method: 'POST',
  path: `${path}/{id}/resume`,
  summary: 'Resume a failed or cancelled job',
  auth: admin,
  params: jobParams,
  budgetMs,
  replies: workReplies,
  problems: [bulkAssignJobNotFound, bulkAssignJobEnded],
  run: async (ctx, { params }) => {
    await resumeJob(ctx, params.id);
    return reply(await workOn(ctx, params.id));
  },
});

const revert = endpoint({
  method: 'POST',
  path: `${path}/{id}/revert`,
  summary: 'Undo a job',
  description:
    'Creates a job that returns each device that is still where the job put it to its previous broker, and skips the rest.',
  auth: admin,
  params: jobParams,
  budgetMs,
  replies: workReplies,
  problems: [bulkAssignJobNotFound, bulkAssignJobOpen, bulkAssignJobReverted],
  run: async (ctx, { params }) => reply(await workOn(ctx, await revertJob(ctx, params.id))),
});

export const handler = routes(create, list, get, devices, cancel, resume, revert);

/** Scheduled: continues open jobs. */
export const work = scheduled(async (ctx) => {
  await reportStuckJobs(ctx);
  await workOnOpenJobs(ctx);
});

/** Scheduled, off by default: assigns every unassigned device to the default broker. */
export const assignUnassigned = scheduled(async (ctx, time) => {
  await createScheduledJob(ctx, time);
  await workOnOpenJobs(ctx);
});
