import { customResource } from '../lib/http/custom-resource.ts';
import { areMeant } from '../lib/migrate.ts';
import { migrateOnDeploy } from '../lib/migrate-on-deploy.ts';

/** Brings the database to this version, before its code takes requests. By hand: `{"allowBreaking": true}`. */
export const handler = customResource('berth-migrations', async ({ allowBreaking, hash }, deadline) => ({
  applied: areMeant(hash) ? await migrateOnDeploy(String(allowBreaking) === 'true', deadline) : [],
}));
