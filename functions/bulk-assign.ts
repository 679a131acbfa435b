import * as z from 'zod/mini';
import { assignUnassigned as createScheduledJob } from '../lib/bulk-assign/assign-unassigned.ts';
import { createJob } from '../lib/bulk-assign/create-job.ts';
import { findJob } from '../lib/bulk-assign/find-job.ts';
import { jobParams, newJobBody, revertBody } from '../lib/bulk-assign/input.ts';
import { preview, previewReply } from '../lib/bulk-assign/preview.ts';
import { reportStuckJobs } from '../lib/bulk-assign/report-stuck-jobs.ts';
import { resumeJob } from '../lib/bulk-assign/resume-job.ts';
import { revertJob } from '../lib/bulk-assign/revert-job.ts';
import { formatJob, isOpen, jobReply } from '../lib/bulk-assign/row.ts';
import { workOn, workOnOpenJobs } from '../lib/bulk-assign/worker.ts';
import type { Context } from '../lib/context.ts';
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
import { endpoint, type Input, routes } from '../lib/http/endpoint.ts';
import { idempotencyKey } from '../lib/http/idempotency-key.ts';
import { prefersAsync } from '../lib/http/prefer.ts';
import { scheduled } from '../lib/http/scheduled.ts';

const path = '/api/v1/devices/bulk-assign';
/** A request works on its job until this time after its start, unless the client prefers not to wait. */
const WAIT_MS = 2_000;
const headers = {
  Location: 'The job',
  'Preference-Applied': '`respond-async` when the request had `Prefer: respond-async`: it did not work on the job',
};
const workReplies = {
  200: { description: 'The job has ended', body: jobReply, headers },
  202: { description: 'The job is open; the worker continues it within a minute', body: jobReply, headers },
};

/** Works on a job for a short time, or not at all, and answers with it. */
async function answer(
  ctx: Context,
  id: number,
  requested: Input<undefined, undefined, undefined>['headers'],
  begin: number,
) {
  const isAsync = prefersAsync(requested);
  const job = isAsync
    ? await findJob(ctx, id)
    : await workOn({ ...ctx, deadline: Math.min(ctx.deadline, begin + WAIT_MS) }, id);
  return {
    status: isOpen(job) ? 202 : 200,
    headers: {
      location: `${path}/${job.id}`,
      ...(isAsync ? { 'preference-applied': 'respond-async' } : {}),
    },
    body: formatJob(job),
  };
}

const create = endpoint({
  method: 'POST',
  path,
  summary: 'Move many devices to a broker',
  description:
    'Creates a job, works on it for up to 2 s, and leaves the rest to the worker. With `Prefer: respond-async` it leaves all of it. A request that is repeated with the same `Idempotency-Key` returns the same job. `dry_run` only returns what would move.',
  auth: admin,
  body: newJobBody,
  maxBodyBytes: 300 * 1024,
  replies: {
    ...workReplies,
    200: {
      ...workReplies[200],
      description: 'The job has ended, or the result of the dry run',
      body: z.union([jobReply, previewReply]),
    },
  },
  problems: [brokerNotFound, brokerInactive, brokerDraining, noDefaultBroker, idempotencyKeyReused],
  run: async (ctx, { body, headers }) => {
    const begin = Date.now();
    if (body.dry_run) return { body: await preview(ctx, body) };
    return answer(ctx, await createJob(ctx, body, idempotencyKey(headers['idempotency-key'])), headers, begin);
  },
});

const resume = endpoint({
  method: 'POST',
  path: `${path}/{id}/resume`,
  summary: 'Resume a failed or cancelled job',
  auth: admin,
  params: jobParams,
  replies: workReplies,
  problems: [bulkAssignJobNotFound, bulkAssignJobEnded],
  run: async (ctx, { params, headers }) => {
    const begin = Date.now();
    await resumeJob(ctx, params.id);
    return answer(ctx, params.id, headers, begin);
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
  body: revertBody,
  replies: workReplies,
  problems: [bulkAssignJobNotFound, bulkAssignJobOpen, bulkAssignJobReverted],
  run: async (ctx, { params, body, headers }) => {
    const begin = Date.now();
    return answer(ctx, await revertJob(ctx, params.id, body.reason), headers, begin);
  },
});

/** The routes that work on a job. Apart from bulk-assign-jobs.ts, so that they cannot block a cancellation. */
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
