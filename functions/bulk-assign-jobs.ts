import * as z from 'zod/mini';
import { cancelJob } from '../lib/bulk-assign/cancel-job.ts';
import { findJob } from '../lib/bulk-assign/find-job.ts';
import { jobParams, jobsQuery } from '../lib/bulk-assign/input.ts';
import { JOB_DEVICE_COLUMNS, jobDevice, jobDevicesQuery, listJobDevices } from '../lib/bulk-assign/list-job-devices.ts';
import { listJobs } from '../lib/bulk-assign/list-jobs.ts';
import { formatJob, jobReply } from '../lib/bulk-assign/row.ts';
import { bulkAssignJobEnded, bulkAssignJobNotFound } from '../lib/errors.ts';
import { admin } from '../lib/http/admin.ts';
import { csv, wantsCsv } from '../lib/http/csv.ts';
import { endpoint, routes } from '../lib/http/endpoint.ts';
import { bodyTag, matches } from '../lib/http/etag.ts';
import { nextLink } from '../lib/http/page.ts';

const path = '/api/v1/devices/bulk-assign';

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
  description: 'To watch an open job, poll with `If-None-Match`: 304 until its next batch.',
  auth: admin,
  params: jobParams,
  replies: {
    200: { description: 'The job', body: jobReply, headers: { ETag: 'Changes with each batch' } },
    304: { description: 'The job is the same', headers: { ETag: 'As sent' } },
  },
  problems: [bulkAssignJobNotFound],
  run: async (ctx, { params, headers }) => {
    const body = formatJob(await findJob(ctx, params.id));
    const etag = bodyTag(body);
    const isSame = matches(headers['if-none-match'], etag);
    return isSame ? { status: 304, headers: { etag } } : { body, headers: { etag } };
  },
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

export const handler = routes(cancel);
/** Served by operator-reads.ts. */
export const reads = [list, get, devices];
