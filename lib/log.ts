import { Logger } from '@aws-lambda-powertools/logger';

/**
 * Structured JSON logs. POWERTOOLS_LOG_LEVEL sets the level. Log only named, harmless fields: never a body, a header,
 * a key, a password or a connection string.
 */
export const log = new Logger({ serviceName: 'berth' });
