import { expect, it } from 'vitest';
import { covers, isAllowed } from '../../lib/mqtt-auth/acl.ts';

it.each([
  ['a/b', 'a/b', true],
  ['a/b', 'a/c', false],
  ['a/b', 'a', false],
  ['a/b', 'a/b/c', false],
  ['a/b', 'a/+', false],
  ['a/b', 'a/#', false],
  ['a/#', 'a', true],
  ['a/#', 'a/b/c', true],
  ['a/#', 'a/#', true],
  ['a/#', 'a/+/c', true],
  ['a/#', '#', false],
  ['a/#', '+/b', false],
  ['a/#', 'ab', false],
  ['a/+', 'a/b', true],
  ['a/+', 'a/+', true],
  ['a/+', 'a/#', false],
  ['a/+', 'a/b/c', false],
  ['a/+/c', 'a/#', false],
  ['a/+/c', 'a/#/c', false],
  ['a/+/c', 'a/+/c', true],
  ['+', 'a', true],
  ['+', '#', false],
  ['#', '#', true],
  ['#', 'a/b', true],
  ['#', '$SYS/uptime', false],
  ['#', '$share/g/a', false],
  ['+/uptime', '$SYS/uptime', false],
  ['$SYS/#', '$SYS/uptime', true],
  ['a/b', 'A/b', false],
  ['/a', 'a', false],
  ['/+', '/a', true],
])('%s covers %s: %s', (wider, filter, expected) => {
  expect(covers(wider, filter)).toBe(expected);
});

it('one ACL must cover the whole filter, with the access bit', () => {
  const acls = [
    { topic: 'a/b', access: 1 },
    { topic: 'a/c', access: 2 },
  ];
  expect(isAllowed(acls, 'a/b', 1)).toBe(true);
  expect(isAllowed(acls, 'a/b', 2)).toBe(false);
  expect(isAllowed(acls, 'a/+', 1)).toBe(false);
  expect(isAllowed([], 'a/b', 1)).toBe(false);
});
