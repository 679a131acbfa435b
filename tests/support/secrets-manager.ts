import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

type Stage = 'AWSCURRENT' | 'AWSPENDING';

/** `answers`; `fails`: 500; `denies`: the role may not read it; `hangs`: says nothing; `refuses`: nobody listens. */
type Mode = 'answers' | 'fails' | 'denies' | 'hangs' | 'refuses';

/** Secrets Manager's GetSecretValue (AWS JSON 1.1) on this machine, for AWS' own SDK to ask. */
export type SecretsManager = {
  /** What the SDK finds it by. */
  env: Record<string, string>;
  /** The secrets that were asked for, in their order: `arn AWSCURRENT`. */
  asked: string[];
  put(arn: string, value: string, stage?: Stage): void;
  /** Ends a rotation: the pending version is the current one. */
  promote(arn: string): void;
  set(mode: Mode): Promise<void>;
  close(): Promise<void>;
};

export function arnOf(name: string): string {
  return `arn:aws:secretsmanager:eu-central-1:123456789012:secret:${name}`;
}

export async function startSecretsManager(): Promise<SecretsManager> {
  const versions = new Map<string, string>();
  const asked: string[] = [];
  let mode: Mode = 'answers';
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const { SecretId, VersionStage = 'AWSCURRENT' } = JSON.parse(Buffer.concat(chunks).toString());
    asked.push(`${SecretId} ${VersionStage}`);
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
  await listen(server, 0);
  const { port } = server.address() as AddressInfo;
  return {
    env: {
      AWS_ENDPOINT_URL_SECRETS_MANAGER: `http://127.0.0.1:${port}`,
      AWS_REGION: 'eu-central-1',
      AWS_ACCESS_KEY_ID: 'AKIAEXAMPLE',
      AWS_SECRET_ACCESS_KEY: 'secret-access-key-of-the-tests',
      AWS_SESSION_TOKEN: 'session/token+of=the==tests',
    },
    asked,
    put: (arn, value, stage = 'AWSCURRENT') => versions.set(`${arn} ${stage}`, value),
    promote: (arn) => {
      versions.set(`${arn} AWSCURRENT`, versions.get(`${arn} AWSPENDING`) as string);
      versions.delete(`${arn} AWSPENDING`);
    },
    set: async (next) => {
      const wasRefusing = mode === 'refuses';
      mode = next;
      server.closeAllConnections();
      if (next === 'refuses' && !wasRefusing) await close(server);
      if (next !== 'refuses' && wasRefusing) await listen(server, port);
    },
    close: () => close(server),
  };
}

function listen(server: Server, port: number): Promise<void> {
  return new Promise((resolve) => server.listen(port, '127.0.0.1', () => resolve()));
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
