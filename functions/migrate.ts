import { isThisVersion } from '../lib/database/migrate.ts';
import { migrateOnDeploy } from '../lib/database/migrate-on-deploy.ts';
import { customResource } from '../lib/http/custom-resource.ts';

/**
 * Migrates the database before the new code receives requests. To apply breaking migrations, invoke it manually with
 * `{"allowBreaking": true}`.
 */
export const handler = customResource('berth-migrations', async ({ allowBreaking, hash }, deadline) => ({
  applied: isThisVersion(hash) ? await migrateOnDeploy(String(allowBreaking) === 'true', deadline) : [],
}));
