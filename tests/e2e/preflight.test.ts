import { readFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, describe, expect, it, onTestFinished } from 'vitest';
import { type Account, startAws } from '../support/aws.ts';
import { serverlessCommand } from '../support/package.ts';
import { cloneProject } from '../support/stack.ts';

/** `serverless deploy` up to its first change in AWS. */
const clone = cloneProject();
afterAll(() => clone.remove());

/** How much the functions reserve together; another test compares the guide with serverless.yml. */
const guide = readFileSync(new URL('../../docs/deploy.md', import.meta.url), 'utf8');
const [, RESERVED] = /(\d+) together in `prod`/.exec(guide) ?? [];

const NETWORK = { vpcId: 'vpc-1', subnetIds: 'subnet-1,subnet-2', securityGroupId: 'sg-1' };
const ENOUGH = { limit: 1_000, unreserved: 1_000 };
const DEPLOYED = { MigrateLambdaFunction: 'UPDATE_COMPLETE', DatabaseCluster: 'CREATE_COMPLETE' };

/** @returns what the command printed, and the requests that it sent. It never succeeds: AWS refuses everything that changes. */
async function deploy(stage: string, parameters: Record<string, string>, account: Account, more: string[] = []) {
  const aws = await startAws(account);
  onTestFinished(aws.close);
  const given = Object.entries(parameters).flatMap(([name, value]) => ['--param', `${name}=${value}`]);
  const { output, status } = await serverlessCommand('deploy', clone.dir, aws.env, [
    '--stage',
    stage,
    ...given,
    ...more,
  ]);
  expect(status).not.toBe(0);
  return { output, requests: aws.requests };
}

describe('refused before AWS is asked for anything', () => {
  it.each([
    [
      'the example of a network',
      'prod',
      { ...NETWORK, subnetIds: 'subnet-00000000000000001,subnet-00000000000000002' },
      /Parameter subnetIds is the example/,
    ],
    [
      'the example of a secret',
      'prod',
      { ...NETWORK, database: 'existing', databaseConnections: '900' },
      /Parameter databaseSecretArn is the example/,
    ],
    ['the example of an issuer', 'prod', { ...NETWORK, adminAuth: 'gateway' }, /Parameter jwtIssuer is the example/],
    [
      'the example of a route table',
      'prod',
      { ...NETWORK, endpoints: 'create' },
      /Parameter routeTableIds is the example/,
    ],
    ['an unknown stage', 'production', NETWORK, /There is no stage production, but local, dev, small, prod, restored/],
    [
      'a parameter that is misspelt',
      'prod',
      { ...NETWORK, registerConcurency: '5' },
      /There is no parameter registerConcurency/,
    ],
  ] as [string, string, Record<string, string>, RegExp][])('%s', async (_what, stage, parameters, message) => {
    const { output, requests } = await deploy(stage, parameters, ENOUGH);
    expect(output).toMatch(message);
    expect(requests).toEqual([]);
  });

  it('a region without its RDS root', async () => {
    const { output, requests } = await deploy('prod', NETWORK, ENOUGH, ['--region', 'il-central-1']);
    expect(output).toMatch(/no RDS root certificate for region il-central-1/);
    expect(requests).toEqual([]);
  });

  it('more executions than an existing database has connections', async () => {
    const existing = { ...NETWORK, database: 'existing', databaseSecretArn: 'arn:of-mine', databaseConnections: '800' };
    const { output, requests } = await deploy('prod', existing, ENOUGH);
    expect(output).toContain(`may hold ${RESERVED} database connections, more than databaseConnections (800)`);
    expect(requests).toEqual([]);
  });
});

describe('concurrency of the account', () => {
  it.each([
    [
      'too little in the account',
      'prod',
      { limit: 10, unreserved: 10 },
      new RegExp(`reserve ${RESERVED} simultaneous executions, and this account has 0`),
    ],
    ['too much reserved by others', 'prod', { limit: 1_000, unreserved: 900 }, /this account has 800 to reserve/],
    [
      'too little for what is deployed',
      'prod',
      { limit: 900, unreserved: 100, resources: DEPLOYED },
      /this account has 800/,
    ],
  ] as [string, string, Account, RegExp][])('refused: %s', async (_what, stage, account, message) => {
    const { output, requests } = await deploy(stage, NETWORK, account);
    expect(output).toMatch(message);
    expect(requests).not.toContain('DescribeStacks');
  });

  it.each([
    ['prod in a new account', 'prod', ENOUGH],
    ['prod again, which has reserved most of it', 'prod', { limit: 1_000, unreserved: 189, resources: DEPLOYED }],
    ['small in an account with a limit of 10', 'small', { limit: 10, unreserved: 10 }],
  ] as [string, string, Account][])('accepted: %s', async (_what, stage, account) => {
    const { output, requests } = await deploy(stage, NETWORK, account);
    expect(output).toMatch(/DescribeStacks/);
    expect(requests).toContain('DescribeStacks');
  });
});

describe('the database is protected against deletion', () => {
  it.each([
    ['not by the first deployment', undefined, false],
    ['not after a first deployment that failed', { DatabaseCluster: 'DELETE_COMPLETE' }, false],
    ['by every later one', DEPLOYED, true],
  ] as [string, Record<string, string> | undefined, boolean][])('%s', async (_what, resources, isProtected) => {
    await deploy('prod', NETWORK, { ...ENOUGH, ...(resources && { resources }) });
    const file = path.join(clone.dir, '.serverless', 'cloudformation-template-update-stack.json');
    const { DatabaseCluster } = JSON.parse(readFileSync(file, 'utf8')).Resources;
    expect(DatabaseCluster.Properties.DeletionProtection).toBe(isProtected);
  });
});
