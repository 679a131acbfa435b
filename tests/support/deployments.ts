/** Region and account of the stand-ins for ids (template.ts). */
export const HERE = 'eu-central-1:123456789012';
const DATABASE_SECRET = 'arn:aws:secretsmanager:eu-central-1:000000000000:secret:berth-app-000000';
const MQTT_AUTH_SECRET = `arn:aws:secretsmanager:${HERE}:secret:mqtt-auth-abcdef`;
const OWNER_SECRET = `arn:aws:secretsmanager:${HERE}:secret:owner-abcdef`;
const SECRETS_KEY = `arn:aws:kms:${HERE}:key/of-the-secrets`;

/** The deployments whose templates are tested. */
export const deployments = {
  created: { stage: 'prod', parameters: {} },
  existing: {
    stage: 'prod',
    parameters: {
      database: 'existing',
      databaseConnections: '900',
      databaseOwnerSecretArn: OWNER_SECRET,
      databaseMqttAuthSecretArn: MQTT_AUTH_SECRET,
      databaseSecretKeyArn: SECRETS_KEY,
      databaseSecurityGroupId: 'sg-of-the-database',
      endpoints: 'create',
      outbound: 'false',
      readScope: 'berth/read',
      writeScope: 'berth/write',
      adminAuth: 'gateway',
      panelOidcClientId: 'berth-panel',
      panelOidcOrigins: 'https://token.example.com',
      clientAddressHeader: 'x-address-0123456789abcdef',
      corsOrigins: 'https://panel.example.com,https://other.example.com',
      bulkAssignSchedule: 'true',
      mqttBrokerUrl: 'mqtts://fallback.example.com:8883',
      mqttPasswordHash: 'bcrypt',
      autoAssignBroker: 'true',
      legacyHashes: 'keep',
      alarmEmail: 'operators@example.com',
    },
  },
  // More registrations than its database can do. No panel.
  dev: {
    stage: 'dev',
    parameters: {
      ...{ database: 'existing', adminAuth: 'jwt', registerConcurrency: '40', databaseConnections: '200' },
      panel: 'false',
    },
  },
  small: { stage: 'small', parameters: {} },
  restored: {
    stage: 'restored',
    parameters: {
      database: 'existing',
      databaseConnections: '3000',
      databaseHost: 'restored.example.com',
      databaseName: 'berth',
    },
  },
};
export type Mode = keyof typeof deployments;

/** Whether the stack creates its database. */
export const createsDatabase = (mode: Mode) => mode === 'created' || mode === 'small';

/**
 * Every right of infra/rights.yml: the IAM statements that it stands for, and the settings `NAME=value` that it adds. This is
 * the list to review. It is spelled out, not derived from infra/.
 */
export function rightsIn(mode: Mode): Record<string, string[]> {
  const secret = (name: string, arn: string) => [`Allow secretsmanager:GetSecretValue ${arn}`, `${name}_ARN=${arn}`];
  const [host, name] = mode === 'restored' ? ['restored.example.com', 'berth'] : ['', ''];
  const existingDatabase = [
    `DATABASE_HOST=${host}`,
    'DATABASE_PORT=',
    `DATABASE_NAME=${name}`,
    'DATABASE_PREPARE=true',
  ];
  if (mode === 'existing') existingDatabase.push(`Allow kms:Decrypt ${SECRETS_KEY}`);
  // The small size has no proxy.
  const [endpoint, id] =
    mode === 'small'
      ? ['<DatabaseCluster.Endpoint.Address>', '<DatabaseCluster.DBClusterResourceId>']
      : ['<DatabaseProxy.Endpoint>', '<DatabaseProxy.Id>'];
  const byToken = [
    'ADMIN_AUTH=token',
    ...secret('ADMIN_TOKEN_HASH', '<AdminTokenHash>'),
    ...secret('ADMIN_READ_TOKEN_HASH', '<AdminReadTokenHash>'),
  ];
  return {
    pepper: secret('BERTH_PEPPER', '<Pepper>'),
    sealKey: secret('BERTH_SEAL_KEY', '<SealKey>'),
    brokerSecret: secret('BROKER_AUTH_SECRET_HASH', '<BrokerAuthSecretHash>'),
    admin: {
      created: byToken,
      small: byToken,
      restored: byToken,
      existing: [
        'ADMIN_AUTH=none',
        'ADMIN_JWT_SCOPE_CLAIM=',
        'ADMIN_JWT_READ_SCOPE=berth/read',
        'ADMIN_JWT_WRITE_SCOPE=berth/write',
      ],
      dev: [
        'ADMIN_AUTH=jwt',
        'ADMIN_JWT_ISSUER=https://login.example.com/',
        'ADMIN_JWT_AUDIENCE=berth',
        'ADMIN_JWT_AUDIENCE_CLAIM=aud',
        'ADMIN_JWT_JWKS_URL=',
        'ADMIN_JWT_SCOPE_CLAIM=',
        'ADMIN_JWT_READ_SCOPE=berth:read',
        'ADMIN_JWT_WRITE_SCOPE=berth:write',
      ],
    }[mode],
    // No statement: it has no right but to run.
    panel: [
      `BERTH_STAGE=${deployments[mode].stage}`,
      ...(mode === 'existing'
        ? [
            'ADMIN_AUTH=none',
            'ADMIN_JWT_ISSUER=https://login.example.com/',
            'ADMIN_JWT_READ_SCOPE=berth/read',
            'ADMIN_JWT_WRITE_SCOPE=berth/write',
            'PANEL_OIDC_CLIENT_ID=berth-panel',
            'PANEL_OIDC_SCOPES=',
            'PANEL_OIDC_ORIGINS=https://token.example.com',
          ]
        : ['ADMIN_AUTH=token']),
    ],
    ...(createsDatabase(mode)
      ? {
          database: [
            `Allow rds-db:connect arn:aws:rds-db:${HERE}:dbuser:${id}/berth_app`,
            'DATABASE_AUTH=iam',
            'DATABASE_USER=berth_app',
            `DATABASE_HOST=${endpoint}`,
            'DATABASE_NAME=berth',
            'DATABASE_PREPARE=true',
          ],
          mqttAuthDatabase: [
            `Allow rds-db:connect arn:aws:rds-db:${HERE}:dbuser:${id}/berth_mqtt_auth`,
            'DATABASE_AUTH=iam',
            'DATABASE_USER=berth_mqtt_auth',
            `DATABASE_HOST=${endpoint}`,
            'DATABASE_NAME=berth',
            'DATABASE_PREPARE=true',
          ],
          owner: [
            ...secret('DATABASE_SECRET', '<DatabaseCluster.MasterUserSecret.SecretArn>'),
            'DATABASE_AUTH=',
            'DATABASE_USER=',
            'DATABASE_APP_USER=berth_app',
            'DATABASE_MQTT_AUTH_USER=berth_mqtt_auth',
            'DATABASE_HOST=<DatabaseCluster.Endpoint.Address>',
            'DATABASE_NAME=berth',
            'DATABASE_PREPARE=true',
          ],
        }
      : {
          database: [...secret('DATABASE_SECRET', DATABASE_SECRET), ...existingDatabase],
          mqttAuthDatabase: [
            ...secret('DATABASE_SECRET', mode === 'existing' ? MQTT_AUTH_SECRET : DATABASE_SECRET),
            ...existingDatabase,
          ],
          owner: [
            ...secret('DATABASE_SECRET', mode === 'existing' ? OWNER_SECRET : DATABASE_SECRET),
            ...existingDatabase,
          ],
        }),
  };
}

/** What every function may do: run in the VPC, be traced, write its own log. */
export function running(stage: string, name: string): string[] {
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
  ];
}
