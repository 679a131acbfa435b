import { exec } from 'preact-iso/router';
import { type LazyPage, lazyPage } from './lazy-page.tsx';

/** Every page. The first path that matches is shown. */
export const ROUTES: [path: string, page: LazyPage][] = [
  ['/', lazyPage(() => import('./pages/overview.tsx'))],
  ['/brokers', lazyPage(() => import('./pages/brokers.tsx'))],
  ['/brokers/new', lazyPage(() => import('./pages/broker-new.tsx'))],
  ['/brokers/:id', lazyPage(() => import('./pages/broker.tsx'))],
  ['/brokers/:id/edit', lazyPage(() => import('./pages/broker-edit.tsx'))],
  ['/devices', lazyPage(() => import('./pages/devices.tsx'))],
  ['/devices/:uuid', lazyPage(() => import('./pages/device.tsx'))],
  ['/keys', lazyPage(() => import('./pages/keys.tsx'))],
  ['/keys/new', lazyPage(() => import('./pages/key-new.tsx'))],
  ['/keys/:id', lazyPage(() => import('./pages/key.tsx'))],
  ['/jobs', lazyPage(() => import('./pages/jobs.tsx'))],
  ['/jobs/new', lazyPage(() => import('./pages/job-new.tsx'))],
  ['/jobs/:id', lazyPage(() => import('./pages/job.tsx'))],
  ['/history', lazyPage(() => import('./pages/history.tsx'))],
  ['/api-reference', lazyPage(() => import('./pages/api-reference.tsx'))],
];

export const NAVIGATION: [path: string, label: string][] = [
  ['/', 'Overview'],
  ['/brokers', 'Brokers'],
  ['/devices', 'Devices'],
  ['/keys', 'Provisioning keys'],
  ['/jobs', 'Bulk-assign'],
  ['/history', 'History'],
  ['/api-reference', 'API'],
];

/** Loads the code of the page at a path, before it is opened. */
export function preloadPage(path: string): void {
  ROUTES.find(([pattern]) => matches(path, pattern))?.[1].preload();
}

function matches(path: string, pattern: string): boolean {
  try {
    return exec(path, pattern) !== undefined;
  } catch {
    // It is not encoded.
    return false;
  }
}
