import { createServer } from 'node:http';
import { serve } from './serve.ts';

type Stage = 'AWSCURRENT' | 'AWSPENDING';

/** `fails`: 500. `denies`: AccessDeniedException. `hangs`: never replies. `refuses`: the port is closed. */
type Mode = 'answers' | 'fails' | 'denies' | 'hangs' | 'refuses';

/** Secrets Manager's GetSecretValue (AWS JSON 1.1) on 127.0.0.1, for the AWS SDK. */
export type SecretsManager = {
  /** The environment that points the SDK to it. */
  env: Record<string, string>;
  /** The requests in order, each as ARN and stage: `arn AWSCURRENT`. */
  requests: string[];
  put(arn: string, value: string, stage?: Stage): void;
  /** Ends a rotation: the pending version becomes the current one. */
  promote(arn: string): void;
  set(mode: Mode): Promise<void>;
  close(): Promise<void>;
};

export function arnOf(name: string): string {
  return `arn:aws:secretsmanager:eu-central-1:123456789012:secret:${name}`;
}

export async function startSecretsManager(): Promise<SecretsManager> {
  const versions = new Map<string, string>();
  const requests: string[] = [];
  let mode: Mode = 'answers';
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const { SecretId, VersionStage = 'AWSCURRENT' } = JSON.parse(Buffer.concat(chunks).toString());
    requests.push(`${SecretId} ${VersionStage}`);
    if (mode === 'hangs') return;
    const send = (status: number, body: object) =>
      response.writeHead(status, { 'content-type': 'application/x-amz-json-1.1' }).end(JSON.stringify(body));
    if (mode === 'fails') return send(500, { __type: 'InternalServiceError' });
    if (mode === 'denies') return send(400, { __type: 'AccessDeniedException' });
    const isSigned = /^AWS4-HMAC-SHA256 Credential=AKIA.*\/eu-central-1\/secretsmanager\//.test(
      request.headers.authorization ?? '',
    );
    if (request.headers['x-amz-target'] !== 'secretsmanager.GetSecretValue' || !isSigned) {
      return send(400, { __type: 'InvalidRequestException' });
    }
    const SecretString = versions.get(`${SecretId} ${VersionStage}`);
    if (SecretString === undefined) return send(400, { __type: 'ResourceNotFoundException' });
    send(200, { ARN: SecretId, Name: SecretId, SecretString, VersionStages: [VersionStage] });
  });
  let served = await serve(server);
  const { port } = served;
  return {
    env: {
      AWS_ENDPOINT_URL_SECRETS_MANAGER: `http://127.0.0.1:${port}`,
      AWS_REGION: 'eu-central-1',
      AWS_ACCESS_KEY_ID: 'AKIAEXAMPLE',
      AWS_SECRET_ACCESS_KEY: 'secret-access-key-of-the-tests',
      AWS_SESSION_TOKEN: 'session/token+of=the==tests',
    },
    requests,
    put: (arn, value, stage = 'AWSCURRENT') => versions.set(`${arn} ${stage}`, value),
    promote: (arn) => {
      versions.set(`${arn} AWSCURRENT`, versions.get(`${arn} AWSPENDING`) as string);
      versions.delete(`${arn} AWSPENDING`);
    },
    set: async (next) => {
      const wasRefusing = mode === 'refuses';
      mode = next;
      server.closeAllConnections();
      if (next === 'refuses' && !wasRefusing) await served.close();
      if (next !== 'refuses' && wasRefusing) served = await serve(server, port);
    },
    close: () => served.close(),
  };
}
