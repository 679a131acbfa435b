import { readdirSync, readFileSync } from 'node:fs';
import type { Resolved } from './template.ts';
import { isAwsMetric } from './template-schema.ts';

const LIB = new URL('../../lib/', import.meta.url);

export type Metric = { Namespace: string; MetricName: string; Dimensions: { Name: string; Value: string }[] };

/** The metrics that an alarm watches, by themselves or in an expression. */
export function metricsOf(alarm: Resolved): Metric[] {
  if (!alarm.Metrics) return [alarm];
  return alarm.Metrics.flatMap(({ MetricStat }: Resolved) => (MetricStat ? [MetricStat.Metric] : []));
}

/** Whether AWS, or for the namespace Berth the code in lib/, writes the metric with exactly these dimensions. */
export function isWritten(namespace: string, name: string, dimensions: string[]): boolean {
  if (namespace === 'Berth') return metricsInCode.get(name)?.join() === dimensions.join();
  return isAwsMetric(namespace, name, dimensions) || OTHER_METRICS.has(`${namespace} ${name}`);
}

/** Not in AWS' CDK: "Monitoring RDS Proxy metrics with CloudWatch" in the user guides, dimension set 1, and Aurora's. */
const OTHER_METRICS = new Set([
  'AWS/RDS DatabaseConnectionsCurrentlySessionPinned',
  'AWS/RDS DatabaseConnectionsBorrowLatency',
  'AWS/RDS ServerlessDatabaseCapacity',
  'AWS/RDS ACUUtilization',
  'AWS/RDS DatabaseConnections',
]);

/** The metrics that lib/ writes, with the names of their dimensions. */
export const metricsInCode = new Map(
  readdirSync(LIB, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .flatMap((name) => metricsOfFile(readFileSync(new URL(name, LIB), 'utf8'))),
);

function metricsOfFile(code: string): [name: string, dimensions: string[]][] {
  const counted = [...code.matchAll(/\bcount\(([^{)]*)(?:\{([^}]*)\})?/g)].flatMap(([, names = '', dimensions = '']) =>
    allOf(/'([A-Z]\w+)'/g, names).map((name): [string, string[]] => [
      name,
      ['service', ...allOf(/(\w+):/g, dimensions)],
    ]),
  );
  const measured = allOf(/\bmeasure\(\{([^}]*)\}/g, code)
    .flatMap((figures) => allOf(/\b([A-Z]\w+):/g, figures))
    .map((name): [string, string[]] => [name, ['service']]);
  return [...counted, ...measured];
}

/** The first group of every match. */
function allOf(pattern: RegExp, source: string): string[] {
  return [...source.matchAll(pattern)].map(([, group]) => group as string);
}
