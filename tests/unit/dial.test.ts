import { expect, it, vi } from 'vitest';
import { resolveHost } from '../../lib/mqtt/dial.ts';

const lookup = vi.hoisted(() => vi.fn());
vi.mock('node:dns/promises', () => ({ lookup }));

const resolvesTo = (...addresses: string[]) => {
  lookup.mockResolvedValue(addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })));
  return resolveHost('broker.example.com', false, Date.now() + 5_000);
};

it('a name with only public addresses resolves to them, four at most', async () => {
  const addresses = ['192.0.2.1', '192.0.2.2', '2001:db8::1', '192.0.2.3', '192.0.2.4'];
  expect(await resolvesTo(...addresses)).toEqual(addresses.slice(0, 4));
});

it.each([
  ['the first', ['169.254.169.254', '192.0.2.1']],
  ['the last', ['192.0.2.1', '2001:db8::1', '127.0.0.1']],
  ['one beyond the four that are tried', ['192.0.2.1', '192.0.2.2', '192.0.2.3', '192.0.2.4', '::1']],
])('a name is refused when %s of its addresses is forbidden', async (_, addresses) => {
  await expect(resolvesTo(...addresses)).rejects.toMatchObject({ stage: 'dns', code: 'ADDRESS_NOT_ALLOWED' });
});
