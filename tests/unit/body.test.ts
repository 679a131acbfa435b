import { expect, it } from 'vitest';
import type { Problem } from '../../lib/errors.ts';
import { parseBody } from '../../lib/http/body.ts';

const problemOf = (body: string): Problem => {
  try {
    parseBody({ body, isBase64Encoded: false, headers: {} } as never);
  } catch (error) {
    return error as Problem;
  }
  throw new Error('no problem');
};

it.each([
  '{"deviceApiKey":"s3cret", x}',
  '{"deviceApiKey":"s3cret"} s3cret',
  's3cret',
  '"s3cret',
  '{"deviceApiKey":s3cret}',
  `{"note":"${'x'.repeat(100)}","deviceApiKey":s3cret,"more":"${'x'.repeat(100)}"}`,
  's3cret at position 4111 (line 1 column 4111)',
  '{"a":1}\u00004111',
])('malformed-json quotes nothing of the body %j', (body) => {
  const problem = problemOf(body);
  expect(problem).toMatchObject({ status: 400, code: 'malformed-json' });
  expect(problem.message).not.toMatch(/s3|4111|deviceApiKey|xx/);
});

it('malformed-json says where the error is, if V8 does', () => {
  expect(problemOf('{"a":1,,}').message).toBe('The body is not JSON: error at position 7.');
  expect(problemOf('{"a":').message).toBe('Send one JSON object (RFC 8259), UTF-8, as the request body.');
});
