// serverless resolves these.
const SERVICE = `berth-\${sls:stage}`;
const param = (name) => `\${param:${name}}`;

const ref = (id) => ({ Ref: id });
const camelCase = (name) => name.replace(/-(.)/g, (_all, letter) => letter.toUpperCase());
/** The id of a function in the template, without its ending: `bulk-assign` is BulkDashassign. */
const logicalId = (name) => name.replace(/^./, (letter) => letter.toUpperCase()).replaceAll('-', 'Dash');

// A metric is [id, namespace, name, dimensions].
const berth = (name, dimensions = {}) => [
  camelCase(dimensions.code ?? name.replace(/^./, (letter) => letter.toLowerCase())),
  'Berth',
  name,
  { service: SERVICE, ...dimensions },
];
const ofFunctions = (metric, names) =>
  names.map((name) => [
    camelCase(name),
    'AWS/Lambda',
    metric,
    { FunctionName: ref(`${logicalId(name)}LambdaFunction`) },
  ]);
const ofSchedule = (metric, name) => ['AWS/Events', metric, { RuleName: ref(`${logicalId(name)}EventsRuleSchedule1`) }];

/**
 * The alarms, all to one topic. Each has a paragraph under its name in docs/operations.md. Alarms on functions find them
 * in serverless.yml: by their routes, their schedules, or `databaseMs`, which marks what devices and brokers call.
 */
module.exports = async ({ resolveConfigurationProperty, resolveVariable }) => {
  const hasPanel = (await resolveVariable('param:panel')) === 'true';
  const all = Object.entries(await resolveConfigurationProperty(['functions']));
  const functions = all.filter(([name]) => name !== 'panel' || hasPanel);
  const namesOf = (fits) => functions.filter(([, fn]) => fits(fn)).map(([name]) => name);
  const hasEvent = (type) => (fn) => fn.events?.some((event) => event[type]);
  const scheduled = namesOf(hasEvent('schedule'));
  const calledByDevicesAndBrokers = namesOf((fn) => fn.databaseMs);
  const calledByOperators = namesOf((fn) => hasEvent('httpApi')(fn) && !fn.databaseMs);
  const isCreated = (await resolveVariable('param:database')) === 'create';
  const hasProxy = isCreated && (await resolveVariable('param:databaseProxy')) === 'true';

  return {
    Conditions: {
      MailsAlarms: { 'Fn::Not': [{ 'Fn::Equals': [param('alarmEmail'), ''] }] },
      WatchesCertificates: { 'Fn::Equals': [param('outbound'), 'true'] },
      AssignsUnassigned: { 'Fn::Equals': [param('bulkAssignSchedule'), 'true'] },
    },
    Outputs: {
      AlarmTopicArn: { Value: ref('AlarmTopic') },
    },
    Resources: {
      // Not encrypted: CloudWatch cannot use the key of SNS, and the text of an alarm is not secret.
      AlarmTopic: { Type: 'AWS::SNS::Topic', Properties: { TopicName: `${SERVICE}-alarms` } },
      AlarmMail: {
        Type: 'AWS::SNS::Subscription',
        Condition: 'MailsAlarms',
        Properties: { TopicArn: ref('AlarmTopic'), Protocol: 'email', Endpoint: param('alarmEmail') },
      },

      // Twice in a quarter of an hour: one 5xx in a quiet night is no alarm.
      ServerErrorsAlarm: alarm('server-errors', 'More than 1 % of requests end in 5xx.', {
        ...combined('IF(requests > 0, 100 * errors / requests, 0)', '5xx in %', 'Sum', 300, [
          ['errors', 'AWS/ApiGateway', '5xx', { ApiId: ref('HttpApi') }],
          ['requests', 'AWS/ApiGateway', 'Count', { ApiId: ref('HttpApi') }],
        ]),
        ...above(1, { periods: 3, atLeast: 2 }),
      }),

      // Without schedules: Lambda starts those later.
      ThrottlesAlarm: alarm('throttles', 'Lambda rejects requests of devices or brokers: no concurrency is left.', {
        ...total('Requests rejected', 60, ofFunctions('Throttles', calledByDevicesAndBrokers)),
        ...above(0, { periods: 5, atLeast: 3 }),
      }),
      OperatorsThrottlesAlarm: alarm(
        'operators-throttles',
        'Lambda rejects requests of operators: no concurrency is left.',
        {
          ...total('Requests rejected', 60, ofFunctions('Throttles', calledByOperators)),
          ...above(0, { periods: 5, atLeast: 3 }),
        },
      ),

      // Berth's own 429s come from a function. Neither CloudWatch nor the gateway counts the gateway's.
      GatewayThrottles: {
        Type: 'AWS::Logs::MetricFilter',
        Properties: {
          LogGroupName: ref('HttpApiLogGroup'),
          FilterPattern: '{ $.status = "429" && $.functionMs = "-" }',
          MetricTransformations: [
            { MetricNamespace: SERVICE, MetricName: 'GatewayThrottles', MetricValue: '1', DefaultValue: 0 },
          ],
        },
      },
      GatewayThrottlesAlarm: alarm('gateway-throttles', 'The gateway rejects requests: a route is at its limit.', {
        ...single(['throttled', SERVICE, 'GatewayThrottles', {}], 'Sum', 60),
        ...above(0, { periods: 5, atLeast: 3 }),
      }),

      // The slowest counts. Neither cold starts nor the gateway's own few milliseconds are included.
      SlowAlarm: alarm('slow', '1 % of the requests of devices or brokers take more than a second.', {
        ...combined(
          'MAX(FILL(METRICS(), 0))',
          'p99 in ms',
          'p99',
          300,
          ofFunctions('Duration', calledByDevicesAndBrokers),
        ),
        ...above(1000, { periods: 4, atLeast: 3 }),
      }),

      RefusalsAlarm: alarm('refusals', 'Many registrations are refused.', {
        ...total(
          'Registrations refused',
          300,
          [
            'invalid-provisioning-key',
            'provisioning-key-revoked',
            'provisioning-key-expired',
            'provisioning-key-exhausted',
            'device-already-registered',
            'device-in-other-fleet',
            'device-inactive',
          ].map((code) => berth('Refused', { code })),
        ),
        ...above(param('refusalsInFiveMinutes'), { periods: 3, atLeast: 1 }),
      }),

      // Functions continue with the values that they have. One refused login per instance is normal after a new password.
      SecretsAlarm: alarm('secrets', 'A secret is unreadable or invalid, or the database refuses the login.', {
        ...total('Secrets and logins that failed', 300, [
          berth('SecretUnavailable'),
          berth('SecretNotUsable'),
          berth('DatabaseLoginRefused'),
        ]),
        ...above(0, { periods: 4, atLeast: 3 }),
      }),

      // The worker reports it every minute. If the worker itself does not run, worker-schedule-dead fires.
      JobStuckAlarm: alarm('job-stuck', 'An open bulk-assign job makes no progress.', {
        ...single(berth('BulkAssignStuckJobs'), 'Maximum', 300),
        ...above(0, { periods: 3, atLeast: 2 }),
      }),

      CertificateExpiryAlarm: {
        Condition: 'WatchesCertificates',
        ...alarm('certificate-expiry', 'A certificate of a broker expires within 30 days.', {
          ...single(berth('CertificateDaysLeft'), 'Minimum', 86400),
          ...below(30),
        }),
      },

      WorkerScheduleAlarm: scheduleDead('worker', 'bulk-assign-worker', 300, 3),
      UnassignedScheduleAlarm: {
        Condition: 'AssignsUnassigned',
        ...scheduleDead('unassigned', 'bulk-assign-unassigned', 900, 2),
      },
      CertificatesScheduleAlarm: {
        Condition: 'WatchesCertificates',
        ...scheduleDead('certificates', 'check-certificates', 86400, 1),
      },
      StatsScheduleAlarm: scheduleDead('stats', 'count-stats', 300, 3),
      PurgeScheduleAlarm: scheduleDead('purge', 'purge-events', 86400, 1),

      // Both ways to fail: the function ends in an error, or EventBridge cannot invoke it. Two failures are tolerated: the
      // database may be away for a moment, and Lambda runs check-certificates and purge-events three times.
      ScheduleErrorsAlarm: alarm('schedule-errors', 'A scheduled function fails, or cannot be started.', {
        ...total('Failed runs', 900, [
          ...ofFunctions('Errors', scheduled),
          ...scheduled.map((name) => [`${camelCase(name)}Rule`, ...ofSchedule('FailedInvocations', name)]),
        ]),
        ...above(2, { periods: 2, atLeast: 1 }),
      }),

      ...(isCreated && {
        DatabaseCapacityAlarm: alarm('database-capacity', 'The database is at its maximum of ACUs.', {
          ...single(
            ['acus', 'AWS/RDS', 'ACUUtilization', { DBClusterIdentifier: ref('DatabaseCluster') }],
            'Maximum',
            300,
          ),
          ...above(95, { periods: 4, atLeast: 3 }),
        }),
      }),

      ...(hasProxy && {
        ProxyBorrowLatencyAlarm: alarm(
          'proxy-borrow-latency',
          'Statements wait 100 ms for a connection of RDS Proxy.',
          {
            ...single(
              ['borrow', 'AWS/RDS', 'DatabaseConnectionsBorrowLatency', { ProxyName: ref('DatabaseProxy') }],
              'Average',
              60,
            ),
            // In microseconds. A statement gives up after 3 s (ConnectionBorrowTimeout).
            ...above(100_000, { periods: 5, atLeast: 3 }),
          },
        ),
        // Bulk-assign pins the connection that it works on: 8 at most, by its concurrency. Nothing else may.
        ConnectionPinningAlarm: alarm(
          'connection-pinning',
          'Database connections are pinned, so RDS Proxy cannot share them.',
          {
            ...single(
              ['pinned', 'AWS/RDS', 'DatabaseConnectionsCurrentlySessionPinned', { ProxyName: ref('DatabaseProxy') }],
              'Sum',
              60,
            ),
            ...above(8, { periods: 15, atLeast: 12 }),
          },
        ),
      }),
    },
  };
};

function metric([_id, Namespace, MetricName, dimensions]) {
  return { Namespace, MetricName, Dimensions: Object.entries(dimensions).map(([Name, Value]) => ({ Name, Value })) };
}

/** An alarm on one metric. @param period in seconds */
function single(one, Statistic, period) {
  return { ...metric(one), Statistic, Period: period };
}

/** An alarm on an expression over several metrics: CloudWatch takes 10. @param period in seconds */
function combined(Expression, Label, Stat, period, metrics) {
  const stats = metrics.map((one) => ({
    Id: one[0],
    ReturnData: false,
    MetricStat: { Metric: metric(one), Stat, Period: period },
  }));
  return { Metrics: [{ Id: 'combined', Expression, Label }, ...stats] };
}

const total = (label, period, metrics) => combined('SUM(FILL(METRICS(), 0))', label, 'Sum', period, metrics);

/**
 * Fires when `atLeast` of `periods` are above the threshold; without `atLeast`, all of them. Logs and Lambda deliver late: a
 * period without its data counts as fine, so more periods are looked at than must be above.
 */
function above(Threshold, { periods = 1, atLeast } = {}) {
  return {
    ComparisonOperator: 'GreaterThanThreshold',
    Threshold,
    EvaluationPeriods: periods,
    ...(atLeast && { DatapointsToAlarm: atLeast }),
  };
}

function below(Threshold, periods = 1) {
  return { ComparisonOperator: 'LessThanThreshold', Threshold, EvaluationPeriods: periods };
}

/**
 * A rule that does not fire sends no data. Therefore the loss of data is the alarm. Missing data as `breaching` would fire when
 * the stack is created, before the rule fires for the first time: an alarm begins without data, and only a change acts.
 */
function scheduleDead(prefix, name, period, periods) {
  return alarm(`${prefix}-schedule-dead`, `EventBridge no longer starts ${name}.`, {
    ...single([prefix, ...ofSchedule('Invocations', name)], 'Sum', period),
    ...below(1, periods),
    TreatMissingData: 'missing',
    InsufficientDataActions: [ref('AlarmTopic')],
  });
}

/** @param what what happened, in a sentence */
function alarm(name, what, properties) {
  return {
    Type: 'AWS::CloudWatch::Alarm',
    Properties: {
      AlarmName: `${SERVICE}-${name}`,
      AlarmDescription: `${what} docs/operations.md, Alarms: ${name}`,
      TreatMissingData: 'notBreaching',
      AlarmActions: [ref('AlarmTopic')],
      OKActions: [ref('AlarmTopic')],
      ...properties,
    },
  };
}
