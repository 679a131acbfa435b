import type { ColdStartFigures } from './cold-start.ts';
import type { HerdFigures } from './herd.ts';
import type { MemoryFigures } from './memory.ts';
import type { RegisterFigures } from './register.ts';
import { percent } from './table.ts';

/** A number that a part is held to, and what was measured. */
export type Target = { what: string; target: string; measured: string; isMet: boolean };

/** What the parts' figures come to, by the part's name. */
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
  const many = cells.filter(({ keys }) => keys === 'many');
  const least = Math.min(...many.map(({ handlerToBare }) => handlerToBare));
  const contended = cells.filter(({ keys, clients }) => keys === 'hot' && clients > 1);
  const hot = Math.min(...contended.map(({ hotToMany }) => hotToMany ?? 0));
  return [
    atLeast('registrations to the legacy service’s hashing alone', legacy.timesFaster, 100, (times) => `${times} ×`),
    ...many.map(({ clients, handlerToBare }) =>
      atLeast(`handler to bare loop, ${clients} clients, 100 keys`, handlerToBare, 0.8, percent),
    ),
    atLeast('the least of these', least, 0.5, percent),
    atLeast('one key to 100 keys, 8 and 32 clients', hot, 0.6, percent),
    atMost('round trips of a registration', roundTrips.prepared.each, 1, String),
  ];
}

function ofColdStart({ functions }: ColdStartFigures): Target[] {
  const register = functions.find(({ name }) => name === 'register');
  return [
    atMost('register: bundle', (register?.bytes ?? Infinity) / 1024, 140, (kb) => `${kb.toFixed(1)} KB`),
    atMost('register: import', register?.importMs ?? Infinity, 40, (ms) => `${ms} ms`),
  ];
}

/** The design names no number: what is kept from one request would show. */
function ofMemory({ samples }: MemoryFigures): Target[] {
  const grownMb = (samples.at(-1)?.heapMb ?? Infinity) - (samples[0]?.heapMb ?? 0);
  return [atMost('heap, grown from the first to the last of 100,000', grownMb, 5, (mb) => `${mb.toFixed(1)} MB`)];
}

function ofHerd({ devices, outage, burst }: HerdFigures): Target[] {
  return [
    atMost('attempts a registration, through the outage', outage.attempts.mean, 3, String),
    atMost('attempts a registration, all back at once', burst.attempts.mean, 3, String),
    ...[outage, burst].map(({ registered }, i) =>
      atLeast(`devices registered${i ? ', at once' : ''}`, Math.min(registered.rows, registered.used), devices, String),
    ),
  ];
}

function ofBulk(figures: { aloneToPlain: number; during: { p99Ms: number; maxMs: number } }): Target[] {
  return [
    atMost('bulk-assign to one plain UPDATE', figures.aloneToPlain, 1.6, (times) => `${times} ×`),
    atMost('registrations beside it, p99', figures.during.p99Ms, 10, (ms) => `${ms} ms`),
    atMost('registrations beside it, max', figures.during.maxMs, 150, (ms) => `${ms} ms`),
  ];
}

type Show = (figure: number) => string;

function atLeast(what: string, figure: number, least: number, show: Show): Target {
  return { what, target: `≥ ${show(least)}`, measured: show(figure), isMet: figure >= least };
}

function atMost(what: string, figure: number, most: number, show: Show): Target {
  return { what, target: `≤ ${show(most)}`, measured: show(figure), isMet: figure <= most };
}
