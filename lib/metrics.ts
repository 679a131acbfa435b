import { Metrics, MetricUnit } from '@aws-lambda-powertools/metrics';

const metrics = new Metrics({ namespace: 'Berth', serviceName: 'berth' });

/**
 * Counts one event as a CloudWatch metric (EMF, written to stdout: no call to AWS).
 *
 * @param name what happened, in CamelCase: `Registered`, `Refused`
 * @param dimensions few and of few values; never a uuid
 */
export function count(name: string, dimensions: Record<string, string> = {}): void {
  const metric = metrics.singleMetric();
  metric.addDimensions(dimensions);
  metric.addMetric(name, MetricUnit.Count, 1);
}

/**
 * Several figures of one thing that happened, as one EMF record.
 *
 * @param figures by name, in CamelCase; a name that ends in `Ms` is of milliseconds
 */
export function measure(figures: Record<string, number>): void {
  for (const [name, value] of Object.entries(figures)) {
    metrics.addMetric(name, name.endsWith('Ms') ? MetricUnit.Milliseconds : MetricUnit.Count, value);
  }
  metrics.publishStoredMetrics();
}
