import { afterEach, expect, it, vi } from 'vitest';
import { allProblems } from '../../docs/openapi.ts';
import { Problem, type ProblemType } from '../../lib/errors.ts';
import { renderProblem } from '../../lib/http/problem.ts';
import { log } from '../../lib/log.ts';

afterEach(() => {
  vi.restoreAllMocks();
});

it('no problem tells a caller to set an environment variable', () => {
  for (const { code, help } of allProblems()) expect(help, code).not.toMatch(/\b[A-Z]+_[A-Z_]+\b/);
});

it.each(allProblems().filter(({ operatorHelp }) => operatorHelp))(
  '$code: what only the platform team can do is logged, not sent',
  (type: ProblemType) => {
    const warn = vi.spyOn(log, 'warn');
    const { body = '' } = renderProblem(new Problem(type), 'request-1');
    expect(JSON.parse(body).detail).toBe(type.help);
    expect(body).not.toContain(JSON.stringify(type.operatorHelp).slice(1, -1));
    expect(warn).toHaveBeenCalledWith(type.title, { requestId: 'request-1', code: type.code, help: type.operatorHelp });
  },
);

it('an unexpected error is logged with its type and stack, without its message, whose lines can contain values', () => {
  const error = vi.spyOn(log, 'error').mockImplementation(() => {});
  const cause = Object.assign(new Error('Key (uuid)=(secret-1)\nsecret-2 is not valid'), { code: 'XX000' });
  const { body = '' } = renderProblem(cause, 'request-1');
  const logged = error.mock.calls[0]?.[1] as unknown as { stack: string[] };
  expect(logged).toMatchObject({ requestId: 'request-1', name: 'Error', code: 'XX000' });
  expect(logged.stack.length).toBeGreaterThan(1);
  for (const text of [JSON.stringify(error.mock.calls), body]) expect(text).not.toContain('secret');
});

it('no cache may store a problem', () => {
  expect(renderProblem(new Error('x'), 'request-1').headers).toMatchObject({ 'cache-control': 'no-store' });
});
