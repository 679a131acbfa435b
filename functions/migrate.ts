import { isThisVersion } from '../lib/database/migrate.ts';
import { migrateOnDeploy } from '../lib/database/migrate-on-deploy.ts';
import { customResource } from '../lib/http/custom-resource.ts';

/** Brings the database to this version, before its code takes requests. By hand: `{"allowBreaking": true}`. */
export const handler = customResource('berth-migrations', async ({ allowBreaking, hash }, deadline) => ({
  applied: isThisVersion(hash) ? await migrateOnDeploy(String(allowBreaking) === 'true', deadline) : [],
}));
