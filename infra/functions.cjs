const ONLY_LAMBDA = {
  Version: '2012-10-17',
  Statement: [{ Effect: 'Allow', Principal: { Service: 'lambda.amazonaws.com' }, Action: 'sts:AssumeRole' }],
};

/**
 * A plugin. To each function of serverless.yml it adds what follows from its `rights` (infra/rights.yml) and its
 * `requestsPerSecond`: a role of its own, settings, its place in a deployment, limits at the gateway.
 */
module.exports = class Functions {
  constructor(serverless) {
    serverless.configSchemaHandler.defineFunctionProperties('aws', {
      properties: {
        rights: { type: 'array', items: { type: 'string' }, minItems: 1, uniqueItems: true },
        // For each of its routes. Without it, they have the default of infra/gateway.yml, which is for operators.
        requestsPerSecond: { type: 'number' },
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
  for (const [name, fn] of Object.entries(functions)) {
    const rights = fn.rights.map((right) => {
      if (!custom.rights[right])
        throw new Error(`serverless.yml: ${name} has the right ${right}, which infra/rights.yml does not have`);
      return custom.rights[right];
    });

    fn.role = `${name.replace(/(^|-)(.)/g, (_all, _dash, letter) => letter.toUpperCase())}Role`;
    resources.Resources[fn.role] = role(rights, naming.getLogGroupLogicalId(name));

    // The local stack gives functions their secrets as plain settings.
    if (custom.environment !== 'local')
      fn.environment = Object.assign({}, ...rights.map(({ environment }) => environment));

    // What uses the tables waits for the migrations.
    if (fn.rights.includes('database')) fn.dependsOn = ['Migrations'];

    if (fn.requestsPerSecond === undefined) continue;
    for (const { httpApi } of fn.events) {
      HttpApiStage.Properties.RouteSettings[httpApi] = limit(fn.requestsPerSecond);
      // Settings of a route that does not exist yet are an error.
      HttpApiStage.DependsOn.push(naming.getHttpApiRouteLogicalId(httpApi));
    }
  }
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
      ManagedPolicyArns: [{ Ref: 'RunsPolicy' }, ...rights.map(({ policy }) => policy)],
      Policies: [
        { PolicyName: 'writes-its-log', PolicyDocument: { Version: '2012-10-17', Statement: [writesItsLog] } },
      ],
    },
  };
}

function limit(perSecond) {
  return { ThrottlingRateLimit: perSecond, ThrottlingBurstLimit: perSecond, DetailedMetricsEnabled: true };
}
