const ONLY_LAMBDA = {
  Version: '2012-10-17',
  Statement: [{ Effect: 'Allow', Principal: { Service: 'lambda.amazonaws.com' }, Action: 'sts:AssumeRole' }],
};

const USES_TABLES = ['database', 'mqttAuthDatabase'];

/** Requests a second that Lambda starts for each unit of concurrency (Lambda Developer Guide, "Concurrency quotas"). */
const STARTED_PER_SECOND = 10;
/** Aurora has 2 GB for each ACU, and 8 GB for each core. */
const ACUS_PER_CORE = 4;

/**
 * A plugin that completes each function of serverless.yml. From its `rights` (infra/rights.yml) follow its role, its settings
 * and its order in a deployment; from its `reservedConcurrency` and `databaseMs`, limits at the gateway.
 */
module.exports = class Functions {
  constructor(serverless) {
    serverless.configSchemaHandler.defineFunctionProperties('aws', {
      properties: {
        rights: { type: 'array', items: { type: 'string' }, minItems: 1, uniqueItems: true },
        // CPU of the database for a request, in milliseconds. Default: none to speak of.
        databaseMs: { type: 'number' },
      },
      required: ['rights'],
    });
    this.hooks = { initialize: () => complete(serverless) };
  }
};

function complete(serverless) {
  const { functions, resources, custom } = serverless.service;
  const { naming } = serverless.getProvider('aws');
  const { HttpApiStage } = resources.extensions;
  if (custom.panel === 'false') delete functions.panel;
  for (const [name, fn] of Object.entries(functions)) {
    const unknown = fn.rights.find((right) => !custom.rights[right]);
    if (unknown)
      throw new Error(`serverless.yml: ${name} has a right that infra/rights.yml does not define: ${unknown}`);
    const rights = fn.rights.map((right) => custom.rights[right]);

    fn.role = `${name.replace(/(^|-)(.)/g, (_all, _dash, letter) => letter.toUpperCase())}Role`;
    resources.Resources[fn.role] = role(rights, naming.getLogGroupLogicalId(name));

    // The local stack gives functions their secrets as plain settings.
    const isLocal = custom.environment === 'local';
    fn.environment = Object.assign({}, ...rights.map(({ environment, local }) => (isLocal ? local : environment)));

    // Code that uses the tables waits for the migrations.
    if (fn.rights.some((right) => USES_TABLES.includes(right))) fn.dependsOn = ['Migrations'];

    for (const route of routesOf(fn)) {
      HttpApiStage.Properties.RouteSettings[route] = limit(requestsPerSecond(fn, Number(custom.databaseMaxCapacity)));
      // CloudFormation refuses settings of a route that does not exist yet.
      HttpApiStage.DependsOn.push(naming.getHttpApiRouteLogicalId(route));
    }
    if (custom.reserveConcurrency === 'false') delete fn.reservedConcurrency;
  }
}

/** How many simultaneous executions the functions reserve together. */
module.exports.reserved = (functions) =>
  Object.values(functions).reduce((sum, { reservedConcurrency = 0 }) => sum + Number(reservedConcurrency), 0);

/** `POST /api/v1/…` of each route of a function. */
function routesOf({ events = [] }) {
  return events.flatMap(({ httpApi }) => {
    if (!httpApi) return [];
    return typeof httpApi === 'string' ? [httpApi] : [`${httpApi.method} ${httpApi.path}`];
  });
}

/** What Lambda starts, or what the database can do, whichever is less. More gets 429 instead of a 5xx. */
function requestsPerSecond({ reservedConcurrency, databaseMs = 0 }, maxAcus) {
  const cores = maxAcus / ACUS_PER_CORE;
  return Math.min(STARTED_PER_SECOND * reservedConcurrency, Math.floor((cores * 1000) / databaseMs));
}

function role(rights, logGroup) {
  const writesItsLog = {
    Effect: 'Allow',
    Action: ['logs:CreateLogStream', 'logs:PutLogEvents'],
    Resource: { 'Fn::GetAtt': [logGroup, 'Arn'] },
  };
  return {
    Type: 'AWS::IAM::Role',
    Properties: {
      AssumeRolePolicyDocument: ONLY_LAMBDA,
      ManagedPolicyArns: [{ Ref: 'RunsPolicy' }, ...rights.flatMap(({ policy }) => policy ?? [])],
      Policies: [
        { PolicyName: 'writes-its-log', PolicyDocument: { Version: '2012-10-17', Statement: [writesItsLog] } },
      ],
    },
  };
}

function limit(perSecond) {
  return { ThrottlingRateLimit: perSecond, ThrottlingBurstLimit: perSecond, DetailedMetricsEnabled: true };
}
