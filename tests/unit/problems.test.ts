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
