const { createRequire } = require('node:module');
const { reserved } = require('./functions.cjs');

/** The AWS SDK that the framework brings. */
const ofFramework = createRequire(require.resolve('serverless/package.json'));

/** Executions that Lambda keeps unreserved in every account. */
const UNRESERVED = 100;

/**
 * A plugin for the command `deploy`. Before anything is created, it compares the account's concurrency with the functions'.
 * The first deployment leaves the database unprotected, so that CloudFormation can delete it when a later step fails. Every
 * later one protects it.
 */
module.exports = class Preflight {
  constructor(serverless, _options, { log }) {
    if (serverless.processedInput.commands.join(' ') !== 'deploy') return;
    this.hooks = {
      initialize: () => prepare(serverless),
      'after:deploy:deploy': () => {
        const { DatabaseCluster } = serverless.service.resources.Resources;
        if (DatabaseCluster?.Properties.DeletionProtection === false)
          log.warning(
            'The database is not protected against deletion yet. Deploy again, with the same command, to protect it.',
          );
      },
    };
  }
};

async function prepare(serverless) {
  const { functions, resources } = serverless.service;
  const config = await serverless.getProvider('aws').getAwsSdkV3Config();
  const StackName = serverless.getProvider('aws').naming.getStackName();
  const exists = (LogicalResourceId) => hasResource(config, { StackName, LogicalResourceId });
  const { DatabaseCluster } = resources.Resources;
  if (DatabaseCluster) DatabaseCluster.Properties.DeletionProtection = await exists('DatabaseCluster');
  const isDeployed = await exists('MigrateLambdaFunction');
  const { ConcurrentExecutions: limit, UnreservedConcurrentExecutions: free } = await accountLimit(config);
  // Of a deployed stack, some is reserved already.
  const left = (isDeployed ? limit : free) - UNRESERVED;
  const needed = reserved(functions);
  if (needed > 0 && needed > left)
    throw new serverless.classes.Error(
      `The functions reserve ${needed} simultaneous executions, and this account has ${Math.max(0, left)} to reserve in this region ` +
        `(limit ${limit}, ${UNRESERVED} stay unreserved). Request a higher limit (docs/deploy.md, Concurrency), or deploy the stage small.`,
      'CONCURRENCY_LIMIT',
    );
}

async function hasResource(config, resource) {
  const { CloudFormationClient, DescribeStackResourceCommand } = ofFramework('@aws-sdk/client-cloudformation');
  try {
    const { StackResourceDetail } = await new CloudFormationClient(config).send(
      new DescribeStackResourceCommand(resource),
    );
    return !StackResourceDetail.ResourceStatus.startsWith('DELETE_');
  } catch (error) {
    if (/does not exist/.test(error.message)) return false;
    throw error;
  }
}

async function accountLimit(config) {
  const { LambdaClient, GetAccountSettingsCommand } = ofFramework('@aws-sdk/client-lambda');
  return (await new LambdaClient(config).send(new GetAccountSettingsCommand({}))).AccountLimit;
}
