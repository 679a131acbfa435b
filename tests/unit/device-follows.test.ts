import { describe, expect, it } from 'vitest';
import { formatHanded, type Handed } from '../../lib/devices/follows.ts';
import type { ResolvedBroker } from '../../lib/resolution/broker-row.ts';

/** What an operator sees of what a device was handed. */
const AT = '2026-01-02T03:04:05.000+00:00';
const HANDED: Handed = { broker_id: 1, version: 'abc', at: AT, is_used: true };
const NEVER: Handed = { broker_id: null, version: null, at: null, is_used: true };
const broker = (id: number) => ({ source: 'device', row: { id } }) as ResolvedBroker;
const environment = { source: 'environment', url: 'mqtt://x:1883' } as ResolvedBroker;

it('what it was handed, with the time in UTC', () => {
  const { handed } = formatHanded(HANDED, false, broker(1));
  expect(handed).toEqual({ broker_id: 1, version: 'abc', at: '2026-01-02T03:04:05.000Z' });
});

it('null when nothing is known; the time alone when its broker was none of the database', () => {
  expect(formatHanded(NEVER, false, broker(1)).handed).toBeNull();
  expect(formatHanded({ ...NEVER, at: AT }, false, environment).handed).toMatchObject({
    broker_id: null,
    version: null,
  });
  expect(formatHanded({ ...HANDED, at: null }, false, broker(1)).handed).toMatchObject({ broker_id: 1, at: null });
});

describe('whether it follows', () => {
  it.each([
    ['unknown', 'handed nothing that is known', NEVER, false, broker(1), 'It is not known which settings'],
    ['unknown', 'handed nothing that is known, and behind', NEVER, true, broker(1), 'It is not known which settings'],
    [
      false,
      'behind another broker',
      HANDED,
      true,
      broker(2),
      'It was handed broker 1, belongs to broker 2, and has not',
    ],
    [
      false,
      'behind newer settings',
      HANDED,
      true,
      broker(1),
      'It was handed earlier settings of broker 1, and has not',
    ],
    [
      false,
      'behind, of unknown settings',
      { ...HANDED, version: null },
      true,
      broker(2),
      'It was handed broker 1, belongs',
    ],
    [
      'unknown',
      'handed unknown settings',
      { ...HANDED, version: null },
      false,
      broker(1),
      'Before this version, it was',
    ],
    [
      'unknown',
      'not seen since',
      { ...HANDED, is_used: false },
      false,
      broker(1),
      'It was handed the current settings, and no',
    ],
    [true, 'current', HANDED, false, broker(1), 'It was handed the current settings of broker 1.'],
    [true, 'current, at the environment’s broker', HANDED, true, environment, 'It was handed the current settings'],
    [true, 'current, without a broker', HANDED, true, undefined, 'It was handed the current settings of broker 1.'],
  ])('%s: %s', (follows, _, handed, isBehind, resolved, why) => {
    const reply = formatHanded(handed, isBehind, resolved);
    expect(reply.follows).toBe(follows);
    expect(reply.why_follows.startsWith(why), reply.why_follows).toBe(true);
  });
});
