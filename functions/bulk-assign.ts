import * as z from 'zod/mini';
import { assignUnassigned as makeStandingJob } from '../lib/bulk-assign/assign-unassigned.ts';
import { cancelJob } from '../lib/bulk-assign/cancel-job.ts';
import { createJob } from '../lib/bulk-assign/create-job.ts';
import { findJob } from '../lib/bulk-assign/find-job.ts';
import { idempotencyKey } from '../lib/bulk-assign/idempotency-key.ts';
import { formatJob, isOpen, type Job, jobParams, jobReply, jobsQuery, newJobBody } from '../lib/bulk-assign/input.ts';
import { JOB_DEVICE_COLUMNS, jobDevice, jobDevicesQuery, listJobDevices } from '../lib/bulk-assign/list-job-devices.ts';
import { listJobs } from '../lib/bulk-assign/list-jobs.ts';
import { preview, previewReply } from '../lib/bulk-assign/preview.ts';
import { reportStuckJobs } from '../lib/bulk-assign/report-stuck-jobs.ts';
import { resumeJob } from '../lib/bulk-assign/resume-job.ts';
import { revertJob } from '../lib/bulk-assign/revert-job.ts';
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
/** Routes that work on the job within the call have this long. */
const budgetMs = 20_000;
const working = {
  200: { description: 'The job has ended', body: jobReply },
  202: {
    description: 'The job is open; the schedule goes on with it',
    body: jobReply,
    headers: { Location: 'Where to follow it' },
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
    'Makes a job and works on it for up to 20 s. With `Idempotency-Key` a repeated request answers the same job. With `dry_run` it only says what would move.',
  auth: admin,
  body: newJobBody,
  maxBodyBytes: 300 * 1024,
  budgetMs,
  replies: {
    ...working,
    200: { description: 'The job has ended, or the dry run', body: z.union([jobReply, previewReply]) },
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
  summary: 'One bulk-assign job: how far it is',
  auth: admin,
  params: jobParams,
  replies: { 200: { description: 'The job', body: jobReply } },
  problems: [bulkAssignJobNotFound],
  run: async (ctx, { params }) => ({ body: formatJob(await findJob(ctx, params.id)) }),
});

const devices = endpoint({
  method: 'GET',
  path: `${path}/{id}/devices`,
  summary: 'What a job did with each device',
  description: 'JSON, or with `Accept: text/csv` CSV, whose link to the next page is in the header `Link`.',
  auth: admin,
  params: jobParams,
  query: jobDevicesQuery,
  replies: {
    200: {
      description: 'In the order of the job',
      body: z.object({ count: z.int(), devices: z.array(jobDevice), next: z.optional(z.string()) }),
      text: 'text/csv',
      headers: { Link: 'The next page, `rel="next"`, of the CSV form' },
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
  description: 'What it has moved stays moved; resume it or revert it.',
  auth: admin,
  params: jobParams,
  replies: { 200: { description: 'Cancelled, now or before', body: jobReply } },
  problems: [bulkAssignJobNotFound, bulkAssignJobEnded],
  run: async (ctx, { params }) => ({ body: formatJob(await cancelJob(ctx, params.id)) }),
});

const resume = endpoint({
  method: 'POST',
  path: `${path}/{id}/resume`,
  summary: 'Go on with a failed or cancelled job',
  auth: admin,
  params: jobParams,
  budgetMs,
  replies: working,
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
  description: 'Makes a job that puts back each device that still is where the job put it, and skips the rest.',
  auth: admin,
  params: jobParams,
  budgetMs,
  replies: working,
  problems: [bulkAssignJobNotFound, bulkAssignJobOpen, bulkAssignJobReverted],
  run: async (ctx, { params }) => reply(await workOn(ctx, await revertJob(ctx, params.id))),
});

export const handler = routes(create, list, get, devices, cancel, resume, revert);

/** The schedule that goes on with whatever job is open. */
export const work = scheduled(async (ctx) => {
  await reportStuckJobs(ctx);
  await workOnOpenJobs(ctx);
});

/** The standing job, off by default: every unassigned device gets the default broker. */
export const assignUnassigned = scheduled(async (ctx, time) => {
  await makeStandingJob(ctx, time);
  await workOnOpenJobs(ctx);
});
