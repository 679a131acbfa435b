import { expect, it } from 'vitest';
import { hostProblem, isForbiddenAddress } from '../../lib/mqtt/address.ts';

const LOOPBACK = ['127.0.0.1', '127.255.255.255', '::1', '::ffff:127.0.0.1', '::ffff:7f00:1', '64:ff9b::7f00:1'];
const NEVER = [
  ...['0.0.0.0', '0.1.2.3', '169.254.0.0', '169.254.169.254', '224.0.0.1', '239.255.255.255', '255.255.255.255'],
  ...['::', 'fe80::1', 'febf::1', 'fe80::1%eth0', 'ff02::1', 'fd00:ec2::254', '::ffff:169.254.169.254'],
  ...['::ffff:a9fe:a9fe', '64:ff9b::a9fe:a9fe', 'not an address', ''],
];
const ALLOWED = [
  '10.0.0.1',
  '172.16.0.1',
  '192.168.1.1',
  '203.0.113.9',
  '126.255.255.255',
  '169.253.0.1',
  '169.255.0.1',
];
const ALLOWED_V6 = ['2001:db8::1', 'fd12:3456::1', '::ffff:10.0.0.1', 'fec0::1', '64:ff9b::a00:1'];

it.each(LOOPBACK)('%s is loopback: allowed in the local stack only', (address) => {
  expect([isForbiddenAddress(address, false), isForbiddenAddress(address, true)]).toEqual([true, false]);
});

it.each(NEVER)('%s is forbidden everywhere', (address) => {
  expect([isForbiddenAddress(address, false), isForbiddenAddress(address, true)]).toEqual([true, true]);
});

it.each([...ALLOWED, ...ALLOWED_V6])('%s is allowed', (address) => {
  expect(isForbiddenAddress(address, false)).toBe(false);
  expect(hostProblem(address, false)).toBeUndefined();
});

it.each(['127.1', '0177.0.0.1', '2130706433', '0x7f000001', '1.2.3.4.5', '256.1.1.1', '1.2.3'])(
  '%s, which resolvers read as an address, is not a valid host',
  (host) => expect(hostProblem(host, true)).toBeDefined(),
);

const LABEL_63 = 'a'.repeat(63);
it.each([
  ...['broker', 'broker.example.com', 'BROKER.Example.COM', 'my_broker', 'a-b.c', 'x1', '1x'],
  ...[`${LABEL_63}.com`, `${'a.'.repeat(126)}a`, '3com.example', 'example.0y', 'a.x0x1', 'local-host', 'localhost.com'],
])('%s is a valid name', (host) => expect(hostProblem(host, false)).toBeUndefined());

it.each([
  ...['', '.', 'a.', '.a', 'a..b', '-a', 'a-', 'a.-b.c', 'a b', 'a/b', 'mqtt://a', 'a:1883', 'user@a', '[::1]', 'ä.de'],
  ...[`${'a'.repeat(64)}.com`, `${'a.'.repeat(126)}aa`, 'a.0', 'a.1234', 'a.0x1', 'a.0X1', 'a.0x'],
])('"%s" is not a valid host', (host) => {
  expect(hostProblem(host, true)).toContain('must be a host name');
});

it.each(['localhost', 'LOCALHOST', 'broker.localhost'])('%s is allowed in the local stack only', (host) => {
  expect(hostProblem(host, false)).toBe('must not be localhost');
  expect(hostProblem(host, true)).toBeUndefined();
});

it.each(['127.0.0.1', '::1', '169.254.169.254'])('%s is refused as an address', (host) => {
  expect(hostProblem(host, false)).toContain('must not be a loopback');
});
