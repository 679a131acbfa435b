import { expect, it } from 'vitest';
import { csv } from '../../lib/http/csv.ts';

it.each([
  ['=1+1', "'=1+1"],
  ['+1', "'+1"],
  ['-device', "'-device"],
  ['@SUM(A1)', "'@SUM(A1)"],
  ['\t=1', "'\t=1"],
  ['\r=1', '"\'\r=1"'],
  ['=HYPERLINK("http://x","y")', '"\'=HYPERLINK(""http://x"",""y"")"'],
  ['a=1', 'a=1'],
  [-1, '-1'],
  [null, ''],
])('a cell %j is %j, so that no spreadsheet runs it as a formula', (value, cell) => {
  expect(csv(['a', 'b'], [{ a: value, b: 1 }])).toBe(`a,b\r\n${cell},1\r\n`);
});
