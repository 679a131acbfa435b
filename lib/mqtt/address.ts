import { BlockList, isIP } from 'node:net';

const LOOPBACK = blockList([
  ['127.0.0.0', 8, 'ipv4'],
  ['::1', 128, 'ipv6'],
  ['64:ff9b::7f00:0', 104, 'ipv6'],
]);
/** Never a broker: unspecified, link-local (with the metadata service of AWS), multicast. */
const NEVER = blockList([
  ['0.0.0.0', 8, 'ipv4'],
  ['169.254.0.0', 16, 'ipv4'],
  ['224.0.0.0', 4, 'ipv4'],
  ['255.255.255.255', 32, 'ipv4'],
  ['::', 128, 'ipv6'],
  ['fe80::', 10, 'ipv6'],
  ['ff00::', 8, 'ipv6'],
  // The same AWS services (metadata, DNS, time) over IPv6 and through NAT64.
  ['fd00:ec2::', 32, 'ipv6'],
  ['64:ff9b::a9fe:0', 112, 'ipv6'],
]);

function blockList(subnets: [string, number, 'ipv4' | 'ipv6'][]): BlockList {
  const list = new BlockList();
  for (const [net, prefix, family] of subnets) list.addSubnet(net, prefix, family);
  return list;
}

/**
 * Whether Berth must not connect to this address: link-local, unspecified, multicast and, outside the local stack,
 * loopback. An IPv4-mapped IPv6 address counts as IPv4.
 *
 * @param address an IPv4 or IPv6 address; any other string is forbidden
 */
export function isForbiddenAddress(address: string, isLocalStack: boolean): boolean {
  const version = isIP(address);
  if (version === 0 || address.includes('%')) return true;
  const family = version === 4 ? 'ipv4' : 'ipv6';
  return NEVER.check(address, family) || (!isLocalStack && LOOPBACK.check(address, family));
}

const LABEL = /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/i;

/**
 * Validates the host of a broker: a name, an IPv4 address or an IPv6 address without brackets.
 * @returns what it must be, or undefined when it is valid
 */
export function hostProblem(host: string, isLocalStack: boolean): string | undefined {
  if (isIP(host)) {
    return isForbiddenAddress(host, isLocalStack)
      ? 'must not be a loopback, link-local, unspecified or multicast address'
      : undefined;
  }
  const labels = host.split('.');
  // Resolvers read `127.1` and `0x7f000001` as addresses, so a name must not end in a number.
  const isName =
    host.length <= 253 && labels.every((label) => LABEL.test(label)) && !/^(\d+|0x.*)$/i.test(labels.at(-1) ?? '');
  if (!isName) {
    return 'must be a host name, an IPv4 or an IPv6 address, without scheme, port, path, user or brackets';
  }
  if (labels.at(-1)?.toLowerCase() === 'localhost' && !isLocalStack) return 'must not be localhost';
  return undefined;
}
