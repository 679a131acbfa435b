import { Signer } from '@aws-sdk/rds-signer';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { databaseToken } from '../../lib/database/token.ts';

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['Date'] });
});
afterEach(() => {
  vi.useRealTimers();
});

const text = (unit: string) => fc.string({ unit: fc.constantFrom(...unit), minLength: 1, maxLength: 40 });
const LETTERS = 'abcXYZ019';
const logins = fc.record({
  host: text('abc019-').map((name) => `x${name}.proxy-abc.eu-central-1.rds.amazonaws.com`),
  port: fc.integer({ min: 1, max: 65_535 }).map(String),
  user: text(`${LETTERS}_-.+&=/?%~!'()* $ü`),
  aws: fc.record({
    region: fc.constantFrom('eu-central-1', 'us-gov-west-1'),
    accessKeyId: text(LETTERS),
    secretAccessKey: text(`${LETTERS}/+=`),
    sessionToken: fc.option(text(`${LETTERS}/+=`), { nil: undefined }),
  }),
});

it('is identical to the token of the AWS signer', async () => {
  await fc.assert(
    fc.asyncProperty(
      logins,
      fc.date({ min: new Date(0), max: new Date('9999-12-31'), noInvalidDate: true }),
      async (login, now) => {
        vi.setSystemTime(now);
        const { host, port, user, aws } = login;
        const { region, sessionToken, ...keys } = aws;
        const credentials = { ...keys, ...(sessionToken ? { sessionToken } : {}) };
        const signer = new Signer({ hostname: host, port: Number(port), username: user, region, credentials });
        expect(databaseToken(login)).toBe(await signer.getAuthToken());
      },
    ),
    { numRuns: 300 },
  );
});

it('contains host, port, user, region and the 15 minutes, and changes every second', () => {
  vi.setSystemTime(new Date('2026-01-02T03:04:05.678Z'));
  const login = {
    host: 'berth.proxy-abc.eu-central-1.rds.amazonaws.com',
    port: '5432',
    user: 'berth_app',
    aws: { region: 'eu-central-1', accessKeyId: 'AKIAEXAMPLE', secretAccessKey: 'secret', sessionToken: 'a+b/c==' },
  };
  const url = new URL(`https://${databaseToken(login)}`);
  expect(url.host).toBe('berth.proxy-abc.eu-central-1.rds.amazonaws.com:5432');
  expect(Object.fromEntries(url.searchParams)).toEqual({
    Action: 'connect',
    DBUser: 'berth_app',
    'X-Amz-Algorithm': 'AWS4-HMAC-SHA256',
    'X-Amz-Credential': 'AKIAEXAMPLE/20260102/eu-central-1/rds-db/aws4_request',
    'X-Amz-Date': '20260102T030405Z',
    'X-Amz-Expires': '900',
    'X-Amz-Security-Token': 'a+b/c==',
    'X-Amz-Signature': expect.stringMatching(/^[0-9a-f]{64}$/),
    'X-Amz-SignedHeaders': 'host',
  });
  const first = databaseToken(login);
  vi.setSystemTime(new Date('2026-01-02T03:04:06Z'));
  expect(databaseToken(login)).not.toBe(first);
});
