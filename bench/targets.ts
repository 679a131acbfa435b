import type { BulkFigures } from './bulk.ts';
import type { ColdStartFigures } from './cold-start.ts';
import type { HerdFigures } from './herd.ts';
import type { MemoryFigures } from './memory.ts';
import type { RegisterFigures } from './register.ts';
import { percent } from './table.ts';

/** A bound for a figure of a part, and what was measured. */
export type Target = { what: string; target: string; measured: string; isMet: boolean };

const TARGETS: Record<string, (figures: never) => Target[]> = {
  register: ofRegister,
  'cold-start': ofColdStart,
  memory: ofMemory,
  herd: ofHerd,
  bulk: ofBulk,
};

export function targetsOf(part: string, figures: object): Target[] {
  return TARGETS[part]?.(figures as never) ?? [];
}

function ofRegister({ cells, legacy, roundTrips }: RegisterFigures): Target[] {
  const handler = cells.filter(({ way }) => way === 'handler');
  const many = handler.filter(({ keys }) => keys === 'many');
  const least = Math.min(...many.map(({ toBare }) => toBare));
  const contended = handler.filter(({ keys, clients }) => keys === 'hot' && clients > 1);
  const hot = Math.min(...contended.map(({ hotToMany }) => hotToMany ?? 0));
  return [
    atLeast('registrations, 8 clients, to the legacy service’s hashing alone', legacy.timesFaster, 200, times),
    ...many.map(({ clients, toBare }) =>
      atLeast(`handler to bare loop, ${clients} clients, 100 keys`, toBare, 0.8, percent),
    ),
    atLeast('the least of these', least, 0.5, percent),
    atLeast('one key to 100 keys, 8 and 32 clients', hot, 0.8, percent),
    atMost('round trips of a registration', roundTrips.prepared.each, 1, String),
  ];
}

function ofColdStart({ functions }: ColdStartFigures): Target[] {
  const register = functions.find(({ name }) => name === 'register');
  return [
    atMost('register: bundle', (register?.bytes ?? Infinity) / 1024, 140, (kb) => `${kb.toFixed(1)} KB`),
    atMost('register: import', register?.importMs ?? Infinity, 25, ms),
  ];
}

/** DESIGN has no number for memory. A leak per request would exceed this one. */
function ofMemory({ samples }: MemoryFigures): Target[] {
  const grownMb = (samples.at(-1)?.heapMb ?? Infinity) - (samples[0]?.heapMb ?? 0);
  return [atMost('heap, grown from the first to the last of 100,000', grownMb, 5, (mb) => `${mb.toFixed(1)} MB`)];
}

function ofHerd({ devices, outage, burst }: HerdFigures): Target[] {
  return [
    atMost('attempts per registration, through the outage', outage.attempts.mean, 3, String),
    atMost('attempts per registration, all simultaneously', burst.attempts.mean, 3, String),
    ...[outage, burst].map(({ registered: { rows, used } }, i) =>
      atLeast(`devices registered${i ? ', all simultaneously' : ''}`, Math.min(rows, used), devices, String),
    ),
  ];
}

function ofBulk({ aloneToPlain, during }: BulkFigures): Target[] {
  return [
    atMost('bulk-assign to one plain UPDATE', aloneToPlain, 1.4, times),
    atMost('registrations beside it, p99', during.p99Ms, 10, ms),
    atMost('registrations beside it, max', during.maxMs, 150, ms),
  ];
}

const times = (figure: number) => `${figure} ×`;
const ms = (figure: number) => `${figure} ms`;

type Show = (figure: number) => string;

function atLeast(what: string, figure: number, least: number, show: Show): Target {
  return { what, target: `≥ ${show(least)}`, measured: show(figure), isMet: figure >= least };
}

function atMost(what: string, figure: number, most: number, show: Show): Target {
  return { what, target: `≤ ${show(most)}`, measured: show(figure), isMet: figure <= most };
}
