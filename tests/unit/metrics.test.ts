import { afterEach, expect, it, vi } from 'vitest';

afterEach(() => {
  vi.unstubAllEnvs();
  vi.restoreAllMocks();
});

it('each count is one EMF record with only its own name and dimensions', async () => {
  vi.stubEnv('POWERTOOLS_METRICS_DISABLED', 'false');
  const written: string[] = [];
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => written.push(String(text)) > 0);
  const { count } = await import('../../lib/metrics.ts');
  count('BrokerResolved', { source: 'device' });
  count('Registered');
  count('BrokerResolved', { source: 'default' });
  count('BrokerResolved', { source: 'device' });

  const records = written.map((line) => JSON.parse(line));
  const named = records.map(({ _aws, ...members }) => ({ members, metric: _aws.CloudWatchMetrics[0] }));
  const record = (dimensions: Record<string, string>, name: string) => ({
    members: { service: expect.any(String), ...dimensions, [name]: 1 },
    metric: {
      Namespace: 'Berth',
      Dimensions: [['service', ...Object.keys(dimensions)]],
      Metrics: [{ Name: name, Unit: 'Count' }],
    },
  });
  expect(named).toEqual([
    record({ source: 'device' }, 'BrokerResolved'),
    record({}, 'Registered'),
    record({ source: 'default' }, 'BrokerResolved'),
    record({ source: 'device' }, 'BrokerResolved'),
  ]);
});
