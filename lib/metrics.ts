import { Metrics, MetricUnit } from '@aws-lambda-powertools/metrics';

/** The dimension `service` is POWERTOOLS_SERVICE_NAME. It separates the stages in one account, and alarms name it. */
const NAMES = { namespace: 'Berth' };
const metrics = new Metrics(NAMES);
/** One for each set of dimensions. Powertools' `singleMetric` creates a new one each time, which takes 70 µs. */
const byDimensions = new Map<string, Metrics>();

/**
 * Counts one event as a CloudWatch metric (EMF, written to stdout: no call to AWS).
 *
 * @param name what happened, in CamelCase: `Registered`, `Refused`
 * @param dimensions few, with few values; never a uuid
 */
export function count(name: string, dimensions: Record<string, string> = {}): void {
  const key = JSON.stringify(dimensions);
  const metric = byDimensions.get(key) ?? new Metrics({ ...NAMES, defaultDimensions: dimensions });
  byDimensions.set(key, metric);
  metric.addMetric(name, MetricUnit.Count, 1);
  metric.publishStoredMetrics();
}

/**
 * Writes several figures of one event as one EMF record.
 *
 * @param figures by name, in CamelCase; a name that ends in `Ms` is in milliseconds
 */
export function measure(figures: Record<string, number>): void {
  for (const [name, value] of Object.entries(figures)) {
    metrics.addMetric(name, name.endsWith('Ms') ? MetricUnit.Milliseconds : MetricUnit.Count, value);
  }
  metrics.publishStoredMetrics();
}
