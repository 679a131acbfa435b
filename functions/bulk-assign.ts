import * as z from 'zod/mini';
import { assignUnassigned as createScheduledJob } from '../lib/bulk-assign/assign-unassigned.ts';
import { createJob } from '../lib/bulk-assign/create-job.ts';
import { idempotencyKey } from '../lib/bulk-assign/idempotency-key.ts';
import { jobParams, newJobBody } from '../lib/bulk-assign/input.ts';
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
import { endpoint, routes } from '../lib/http/endpoint.ts';
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

/** The routes that work on a job for up to 20 s. Apart from bulk-assign-jobs.ts, so that they cannot block a cancellation. */
export const handler = routes(create, resume, revert);

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
