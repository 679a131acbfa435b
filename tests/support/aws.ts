import { createServer } from 'node:http';
import { serve } from './serve.ts';

/** Lambda and CloudFormation on 127.0.0.1, as far as a deployment asks before it creates anything. */
export type Aws = {
  /** The environment that points the SDK to it. */
  env: Record<string, string>;
  /** The names of the requests in order: `GetAccountSettings`. */
  requests: string[];
  close(): Promise<void>;
};

/** `limit`: of the account. `unreserved`: what no function has reserved. `resources`: of the stack; none: there is no stack. */
export type Account = { limit: number; unreserved: number; resources?: Record<string, string> };

/** Every other request is refused with `NotInThisTest`, so the deployment ends there. */
export async function startAws({ limit, unreserved, resources }: Account): Promise<Aws> {
  const requests: string[] = [];
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const form = new URLSearchParams(Buffer.concat(chunks).toString());
    const isLambda = request.url?.endsWith('/account-settings') || request.url?.endsWith('/account-settings/');
    const action = isLambda ? 'GetAccountSettings' : (form.get('Action') ?? `${request.method} ${request.url}`);
    // The framework asks this at the beginning of every deployment.
    if (action !== 'GetCallerIdentity') requests.push(action);
    if (isLambda) {
      const AccountLimit = { ConcurrentExecutions: limit, UnreservedConcurrentExecutions: unreserved };
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ AccountLimit }));
      return;
    }
    const status = resources?.[form.get('LogicalResourceId') ?? ''];
    if (action === 'DescribeStackResource' && status) {
      const detail = `<StackResourceDetail><ResourceStatus>${status}</ResourceStatus></StackResourceDetail>`;
      const result = `<DescribeStackResourceResult>${detail}</DescribeStackResourceResult>`;
      response.writeHead(200).end(`<DescribeStackResourceResponse>${result}</DescribeStackResourceResponse>`);
      return;
    }
    const [code, message] =
      action === 'DescribeStackResource'
        ? ['ValidationError', `Resource ${form.get('LogicalResourceId')} does not exist for stack`]
        : ['NotInThisTest', action];
    const error = `<Error><Type>Sender</Type><Code>${code}</Code><Message>${message}</Message></Error>`;
    response.writeHead(400).end(`<ErrorResponse>${error}</ErrorResponse>`);
  });
  const { port, close } = await serve(server);
  const env = {
    AWS_ENDPOINT_URL: `http://127.0.0.1:${port}`,
    AWS_ACCESS_KEY_ID: 'AKIAEXAMPLE',
    AWS_SECRET_ACCESS_KEY: 'secret-access-key-of-the-tests',
  };
  return { env, requests, close };
}
