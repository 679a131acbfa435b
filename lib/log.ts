import { Logger } from '@aws-lambda-powertools/logger';

/**
 * Structured JSON logs (level by POWERTOOLS_LOG_LEVEL). Callers pass named, harmless fields only:
 * never a body, a header, a key, a password or a connection string.
 */
export const log = new Logger({ serviceName: 'berth' });
