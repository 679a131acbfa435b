import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { workOnOpenJobs } from '../../lib/bulk-assign/worker.ts';
import { MAX_INTEGER } from '../../lib/fields.ts';
import { type Answer, call } from '../support/api.ts';
import {
  addBroker,
  admin,
  type Berth,
  bearer,
  counts,
  issueKey,
  type Make,
  register as registerWith,
  setEnv,
  startBerth,
} from '../support/berth.ts';
import { contextFor, finished, JOBS } from '../support/bulk.ts';
import { type Instance, startInstances, stopInstances } from '../support/instances.ts';

/**
 * Random sequences of commands. Run one after the other, they must behave like a small model. Run concurrently at
 * several instances, they must keep the invariants. A failure prints its seed and the shortest failing sequence.
 */
let berth: Berth;
let instances: Instance[];
beforeAll(async () => {
  berth = await startBerth();
  instances = await startInstances(4);
});
afterAll(async () => {
  await stopInstances(instances);
  await berth.stop();
});
beforeEach(() => setEnv({}));

/** Up to 20 commands. `size: 'max'`: by default, fast-check prefers short lists. */
const sequence = <T>(command: fc.Arbitrary<T>) => fc.array(command, { maxLength: 20, size: 'max' });

const emptyTables = () =>
  berth.sql(
    'truncate devices, mqtt_users, mqtt_acls, provisioning_keys, device_events, operator_events, refusal_counts, bulk_assign_jobs, leases, mqtt_broker_config restart identity cascade',
  );
const registrationOf = (device: number, deviceApiKey: string) => ({
  uuid: `device-${device}`,
  deviceName: 'a',
  deviceType: 'b',
  deviceApiKey,
});
const codeOf = ({ status, body }: Answer) => (status < 400 ? status : body.code);
const concurrently = <T>(commands: T[], run: (command: T, make: Make) => Promise<Answer>) =>
  Promise.all(commands.map((command, n) => run(command, (instances[n % instances.length] as Instance).call)));

describe('the quota of a provisioning key', () => {
  type Command =
    | { do: 'register'; device: number; deviceKey: number }
    | { do: 'delete'; device: number }
    | { do: 'revoke' }
    | { do: 'expire' };
  const device = fc.nat(4);
  const register = fc.record({ do: fc.constant('register' as const), device, deviceKey: fc.nat(1) });
  const remove = fc.record({ do: fc.constant('delete' as const), device });
  const command: fc.Arbitrary<Command> = fc.oneof(
    { arbitrary: register, weight: 10 },
    { arbitrary: remove, weight: 4 },
    { arbitrary: fc.constantFrom<Command>({ do: 'revoke' }, { do: 'expire' }), weight: 1 },
  );
  const maxDevices = fc.integer({ min: 1, max: 4 });

  async function run(key: { id: string; key: string }, one: Command, make: Make): Promise<Answer> {
    if (one.do === 'delete') return make(`DELETE /api/v1/devices/device-${one.device}`, { headers: admin });
    if (one.do === 'revoke') return make(`DELETE /api/v1/provisioning-keys/${key.id}`, { headers: admin });
    if (one.do === 'expire') {
      await berth.sql(`update provisioning_keys set expires_at = now() - interval '1 day' where id = $1`, [key.id]);
      return { status: 200, headers: {}, text: '', body: undefined };
    }
    return registerWith(key.key, registrationOf(one.device, `device-key-${one.deviceKey}`), {}, make);
  }

  it('registration charges it once per device, deletion refunds it, and it is never exceeded', async () => {
    const property = fc.asyncProperty(maxDevices, sequence(command), async (max, commands) => {
      await emptyTables();
      await addBroker(berth, { is_default: true });
      const key = await issueKey({ maxDevices: max });
      const model = { devices: new Map<number, number>(), isRevoked: false, isExpired: false };
      for (const one of commands) {
        const expected = step(model, max, one);
        expect(codeOf(await run(key, one, call)), JSON.stringify(one)).toBe(expected);
        const { size } = model.devices;
        expect(await counts(berth)).toMatchObject({ used: size, devices: size, users: size });
      }
    });
    await fc.assert(property, { numRuns: 60 });
  });

  type Model = { devices: Map<number, number>; isRevoked: boolean; isExpired: boolean };
  function step(model: Model, max: number, one: Command): number | string {
    if (one.do === 'delete') return model.devices.delete(one.device) ? 200 : 'device-not-found';
    if (one.do === 'revoke') model.isRevoked = true;
    if (one.do === 'expire') model.isExpired = true;
    if (one.do !== 'register') return 200;
    if (model.isRevoked) return 'provisioning-key-revoked';
    const known = model.devices.get(one.device);
    if (known === one.deviceKey) return 200;
    if (model.isExpired) return 'provisioning-key-expired';
    if (model.devices.size >= max) return 'provisioning-key-exhausted';
    if (known !== undefined) return 'device-already-registered';
    model.devices.set(one.device, one.deviceKey);
    return 200;
  }

  it('concurrent commands never exceed it, and every device that got 200 is registered', async () => {
    const batches = fc.array(fc.array(fc.oneof(register, register, remove), { minLength: 2, maxLength: 12 }), {
      maxLength: 5,
    });
    const property = fc.asyncProperty(maxDevices, batches, async (max, all) => {
      await emptyTables();
      await addBroker(berth, { is_default: true });
      const key = await issueKey({ maxDevices: max });
      for (const batch of all) {
        const answers = await concurrently(batch, (one, make) => run(key, one, make));
        for (const answer of answers) {
          expect([200, 'device-not-found', 'device-already-registered', 'provisioning-key-exhausted']).toContain(
            codeOf(answer),
          );
        }
        const { used, devices, users } = await counts(berth);
        expect({ used, users }).toEqual({ used: devices, users: devices });
        expect(used).toBeLessThanOrEqual(max);
        const removed = new Set(batch.filter((one) => one.do === 'delete').map((one) => one.device));
        const accepted = batch.filter((one, n) => one.do === 'register' && answers[n]?.status === 200);
        const present = (await berth.sql('select uuid from devices')).map(({ uuid }) => uuid);
        for (const one of accepted) if (!removed.has(one.device)) expect(present).toContain(`device-${one.device}`);
      }
    });
    await fc.assert(property, { numRuns: 40 });
  });
});

describe('broker resolution and the default broker', () => {
  type Command =
    | {
        do: 'change';
        broker: number;
        body: { is_active?: boolean; accepts_new_devices?: boolean; is_default?: boolean };
      }
    | { do: 'delete'; broker: number }
    | { do: 'assign'; device: number; broker: number | null }
    | { do: 'register'; device: number; withKeyBroker: boolean }
    | { do: 'environment'; isSet: boolean };
  const broker = fc.nat(2);
  const device = fc.nat(2);
  const changed = fc
    .constantFrom('is_active', 'accepts_new_devices', 'is_default', 'is_default')
    .chain((field) => fc.boolean().map((value) => ({ [field]: value })));
  const change = fc.record({ do: fc.constant('change' as const), broker, body: changed });
  const remove = fc.record({ do: fc.constant('delete' as const), broker });
  const command: fc.Arbitrary<Command> = fc.oneof(
    { arbitrary: change, weight: 6 },
    { arbitrary: remove, weight: 1 },
    { arbitrary: fc.record({ do: fc.constant('assign' as const), device, broker: fc.option(broker) }), weight: 4 },
    { arbitrary: fc.record({ do: fc.constant('register' as const), device, withKeyBroker: fc.boolean() }), weight: 4 },
    { arbitrary: fc.record({ do: fc.constant('environment' as const), isSet: fc.boolean() }), weight: 1 },
  );

  const KEY_BROKER = 1;
  type BrokerModel = { isActive: boolean; isOpen: boolean };
  type Model = {
    brokers: Map<number, BrokerModel>;
    defaultBroker: number | undefined;
    keyBroker: number | undefined;
    devices: Map<number, { assigned: number | null; withKeyBroker: boolean }>;
    hasEnvironment: boolean;
  };
  type Keys = Record<'plain' | 'withBroker', string>;

  async function arrange(): Promise<{ model: Model; ids: number[]; keys: Keys }> {
    setEnv({});
    await emptyTables();
    const ids: number[] = [];
    for (const n of [0, 1, 2]) ids.push(await addBroker(berth, { name: `b${n}`, is_default: n === 0 }));
    const { key: plain } = await issueKey();
    const { key: withBroker } = await issueKey({ default_broker_id: ids[KEY_BROKER] });
    const model: Model = {
      brokers: new Map(ids.map((_, n) => [n, { isActive: true, isOpen: true }])),
      defaultBroker: 0,
      keyBroker: KEY_BROKER,
      devices: new Map(),
      hasEnvironment: false,
    };
    return { model, ids, keys: { plain, withBroker } };
  }

  async function run(one: Command, ids: number[], keys: Keys, make: Make): Promise<Answer | undefined> {
    switch (one.do) {
      case 'change':
        return make(`PUT /api/v1/mqtt/brokers/${ids[one.broker]}`, {
          headers: admin,
          query: { force: 'true' },
          body: one.body,
        });
      case 'delete':
        return make(`DELETE /api/v1/mqtt/brokers/${ids[one.broker]}`, {
          headers: admin,
          query: { force: 'true', reassign_to: 'default' },
        });
      case 'assign':
        return make(`PUT /api/v1/devices/device-${one.device}`, {
          headers: admin,
          body: { mqtt_broker_id: one.broker === null ? null : ids[one.broker] },
        });
      case 'register':
        return registerWith(
          one.withKeyBroker ? keys.withBroker : keys.plain,
          registrationOf(one.device, 'device-key'),
          {},
          make,
        );
      default:
        setEnv(one.isSet ? { MQTT_BROKER_URL: 'mqtt://environment.example.com' } : {});
        return undefined;
    }
  }

  /** Applies the command to the model. @returns the expected status or code; undefined: no request is made */
  function step(model: Model, one: Command): number | string | undefined {
    switch (one.do) {
      case 'change': {
        const found = model.brokers.get(one.broker);
        if (!found) return 'broker-config-not-found';
        const { is_active = found.isActive, accepts_new_devices = found.isOpen, is_default } = one.body;
        if (is_default && !is_active) return 'default-broker-inactive';
        model.brokers.set(one.broker, { isActive: is_active, isOpen: accepts_new_devices });
        if (is_default) model.defaultBroker = one.broker;
        if (is_default === false && model.defaultBroker === one.broker) model.defaultBroker = undefined;
        return 200;
      }
      case 'delete':
        if (!model.brokers.delete(one.broker)) return 'broker-config-not-found';
        if (model.defaultBroker === one.broker) model.defaultBroker = undefined;
        if (model.keyBroker === one.broker) model.keyBroker = undefined;
        for (const known of model.devices.values()) if (known.assigned === one.broker) known.assigned = null;
        return 200;
      case 'assign': {
        const known = model.devices.get(one.device);
        if (!known) return 'device-not-found';
        const target = one.broker === null ? undefined : model.brokers.get(one.broker);
        if (one.broker !== null && !target) return 'broker-not-found';
        if (target && known.assigned !== one.broker) {
          if (!target.isActive) return 'broker-inactive';
          if (!target.isOpen) return 'broker-draining';
        }
        known.assigned = one.broker;
        return 200;
      }
      case 'register': {
        if (!model.devices.has(one.device)) {
          const keyBroker = one.withKeyBroker ? model.keyBroker : undefined;
          const found = resolve(model, { assigned: null, keyBroker, isNew: true });
          if (!found) return 'no-broker-available';
          const assigned = found.source === 'provisioning_key' ? (found.broker ?? null) : null;
          model.devices.set(one.device, { assigned, withKeyBroker: one.withKeyBroker });
          return 200;
        }
        return resolveKnown(model, one.device) ? 200 : 'no-broker-available';
      }
      default:
        model.hasEnvironment = one.isSet;
        return undefined;
    }
  }

  type Resolvable = { assigned: number | null; keyBroker: number | undefined; isNew: boolean };
  function resolve(model: Model, { assigned, keyBroker, isNew }: Resolvable) {
    const steps = [
      { source: 'device', broker: assigned ?? undefined },
      { source: 'provisioning_key', broker: keyBroker },
      { source: 'default', broker: model.defaultBroker },
    ];
    const usable = steps.find(({ broker: n }) => {
      const found = n === undefined ? undefined : model.brokers.get(n);
      return found?.isActive && (found.isOpen || !isNew);
    });
    return usable ?? (model.hasEnvironment ? { source: 'environment', broker: undefined } : undefined);
  }

  function resolveKnown(model: Model, n: number) {
    const { assigned, withKeyBroker } = model.devices.get(n) as { assigned: number | null; withKeyBroker: boolean };
    return resolve(model, { assigned, keyBroker: withKeyBroker ? model.keyBroker : undefined, isNew: false });
  }

  async function defaults(): Promise<string[]> {
    const rows = await berth.sql('select name from mqtt_broker_config where is_default');
    return rows.map(({ name }) => name);
  }

  it('after each command, every device is resolved like in the model', async () => {
    const property = fc.asyncProperty(sequence(command), async (commands) => {
      const { model, ids, keys } = await arrange();
      for (const one of commands) {
        const expected = step(model, one);
        const answer = await run(one, ids, keys, call);
        if (answer) expect(codeOf(answer), JSON.stringify(one)).toBe(expected);
        expect(await defaults()).toEqual(model.defaultBroker === undefined ? [] : [`b${model.defaultBroker}`]);
        for (const n of model.devices.keys()) {
          const found = resolveKnown(model, n);
          const { status, body } = await call(`GET /api/v1/device/device-${n}/mqtt`, {
            headers: bearer('device-key'),
          });
          const brokerId = found?.broker === undefined ? null : ids[found.broker];
          expect(status === 200 ? body.assignment : body.code, JSON.stringify(one)).toEqual(
            found
              ? { source: found.source, brokerId, brokerName: brokerId === null ? null : `b${found.broker}` }
              : 'no-broker-available',
          );
        }
      }
    });
    await fc.assert(property, { numRuns: 60 });
  });

  it('concurrent changes of brokers leave at most one default, and exactly one if no change removes it', async () => {
    const takeover = fc.record({ do: fc.constant('change' as const), broker, body: fc.constant({ is_default: true }) });
    const batch = fc.array(fc.oneof(takeover, takeover, change, remove), { minLength: 2, maxLength: 8, size: 'max' });
    const property = fc.asyncProperty(fc.array(batch, { maxLength: 4 }), async (batches) => {
      const { ids, keys } = await arrange();
      for (const commands of batches) {
        const before = await defaults();
        const answers = await concurrently(commands, (one, make) => run(one, ids, keys, make) as Promise<Answer>);
        const after = await defaults();
        for (const answer of answers) {
          expect([200, 'broker-config-not-found', 'default-broker-inactive', 'broker-changing']).toContain(
            codeOf(answer),
          );
        }
        expect(after.length).toBeLessThanOrEqual(1);
        const done = commands.filter((_, n) => answers[n]?.status === 200);
        const isSet = done.some((one) => one.do === 'change' && one.body.is_default);
        const couldBeDefault = (n: number) =>
          before[0] === `b${n}` || done.some((one) => one.do === 'change' && one.body.is_default && one.broker === n);
        const isRemoved = done.some(
          (one) => couldBeDefault(one.broker) && (one.do === 'delete' || one.body.is_default === false),
        );
        if ((isSet || before.length === 1) && !isRemoved) expect(after).toHaveLength(1);
      }
    });
    await fc.assert(property, { numRuns: 100 });
  });
});

describe('bulk-assign jobs', () => {
  type Command =
    | { do: 'assign'; filter: Record<string, unknown>; target: number | null }
    | { do: 'revert'; job: number }
    | { do: 'move'; device: number; broker: number | null }
    | { do: 'delete'; device: number }
    | { do: 'activate'; broker: number; isActive: boolean };
  const DEVICES = 12;
  const fleetOf = (n: number) => `fleet-${n % 3}`;
  const typeOf = (n: number) => `type-${n % 2}`;
  const broker = fc.nat(2);
  const device = fc.nat(DEVICES - 1);
  const target = fc.option(broker);
  const filter = fc.oneof(
    fc.constant({}),
    fc.constant({ unassigned: true }),
    broker.map((n) => ({ broker_id: n + 1 })),
    fc.nat(2).map((n) => ({ fleet_id: `fleet-${n}` })),
    fc.nat(1).map((n) => ({ device_type: `type-${n}`, fleet_id: 'fleet-0' })),
    fc.uniqueArray(device, { minLength: 1, maxLength: 4 }).map((all) => ({ uuids: all.map((n) => `device-${n}`) })),
  );
  const assign = fc.record({ do: fc.constant('assign' as const), filter, target });
  const revert = fc.record({ do: fc.constant('revert' as const), job: fc.integer({ min: 1, max: 6 }) });
  const move = fc.record({ do: fc.constant('move' as const), device, broker: target });
  const remove = fc.record({ do: fc.constant('delete' as const), device });
  const activate = fc.record({ do: fc.constant('activate' as const), broker, isActive: fc.boolean() });
  const command: fc.Arbitrary<Command> = fc.oneof(
    { arbitrary: assign, weight: 5 },
    { arbitrary: revert, weight: 4 },
    { arbitrary: move, weight: 4 },
    { arbitrary: remove, weight: 1 },
    { arbitrary: activate, weight: 2 },
  );

  /** Ids count from 1, so broker n has the id n + 1. */
  const idOf = (n: number | null) => (n === null ? null : n + 1);

  async function arrange(): Promise<void> {
    await emptyTables();
    for (const n of [0, 1, 2]) await addBroker(berth, { name: `b${n}`, is_default: n === 0 });
    await berth.sql(
      `insert into devices (uuid, fleet_id, device_type, mqtt_broker_id)
       select 'device-' || n, 'fleet-' || n % 3, 'type-' || n % 2, case when n % 4 > 0 then n % 4 end
       from generate_series(0, $1::int - 1) n`,
      [DEVICES],
    );
  }

  /** `created`: the ids of the jobs so far. They have gaps, because a refused revert consumes an id too. */
  function run(one: Command, make: Make, created?: number[]): Promise<Answer> {
    const options = { headers: admin, remainingMs: 29_000 };
    switch (one.do) {
      case 'assign': {
        const all = Object.keys(one.filter).length === 0 ? { all: true } : { filter: one.filter };
        return make(`POST ${JOBS}`, { ...options, body: { ...all, target: { mqtt_broker_id: idOf(one.target) } } });
      }
      case 'revert':
        return make(`POST ${JOBS}/${created ? (created[one.job - 1] ?? MAX_INTEGER) : one.job}/revert`, options);
      case 'move':
        return make(`PUT /api/v1/devices/device-${one.device}`, {
          ...options,
          body: { mqtt_broker_id: idOf(one.broker) },
        });
      case 'delete':
        return make(`DELETE /api/v1/devices/device-${one.device}`, options);
      default:
        return make(`PUT /api/v1/mqtt/brokers/${idOf(one.broker)}`, {
          ...options,
          query: { force: 'true' },
          body: { is_active: one.isActive },
        });
    }
  }

  async function assignments(): Promise<Record<string, number | null>> {
    const rows = await berth.sql('select uuid, mqtt_broker_id from devices order by id');
    return Object.fromEntries(rows.map(({ uuid, mqtt_broker_id }) => [uuid, mqtt_broker_id]));
  }

  type Counts = { moved: number; already_there: number };
  type Move = { device: number; from: number | null; to: number | null };
  type Job = { moves: Move[]; isReverted: boolean };
  type Model = { devices: Map<number, number | null>; active: boolean[]; jobs: Job[] };

  function step(model: Model, one: Command): { code: number | string; counts?: Counts } {
    switch (one.do) {
      case 'assign': {
        if (one.target !== null && !model.active[one.target]) return { code: 'broker-inactive' };
        const matching = [...model.devices].filter(([n, from]) => matches(one.filter, n, from));
        const moves = matching
          .filter(([, from]) => from !== one.target)
          .map(([n, from]) => ({ device: n, from, to: one.target }));
        return apply(model, moves, matching.length - moves.length);
      }
      case 'revert': {
        const job = model.jobs[one.job - 1];
        if (!job) return { code: 'bulk-assign-job-not-found' };
        if (job.isReverted) return { code: 'bulk-assign-job-reverted' };
        job.isReverted = true;
        const moves = job.moves
          .filter(({ device: n, from, to }) => {
            return model.devices.has(n) && model.devices.get(n) === to && (from === null || model.active[from]);
          })
          .map(({ device: n, from, to }) => ({ device: n, from: to, to: from }));
        return apply(model, moves);
      }
      case 'move': {
        const from = model.devices.get(one.device);
        if (from === undefined) return { code: 'device-not-found' };
        if (one.broker !== null && from !== one.broker && !model.active[one.broker]) return { code: 'broker-inactive' };
        model.devices.set(one.device, one.broker);
        return { code: 200 };
      }
      case 'delete':
        return { code: model.devices.delete(one.device) ? 200 : 'device-not-found' };
      default:
        model.active[one.broker] = one.isActive;
        return { code: 200 };
    }
  }

  /** @param assigned devices that match and are assigned to the target already */
  function apply(model: Model, moves: Move[], assigned = 0): { code: number; counts: Counts } {
    for (const { device: n, to } of moves) model.devices.set(n, to);
    model.jobs.push({ moves, isReverted: false });
    const moved = moves.filter(({ from, to }) => resolved(model, from) !== resolved(model, to)).length;
    return { code: 200, counts: { moved, already_there: moves.length - moved + assigned } };
  }

  /** Broker 0 is the default. */
  function resolved({ active }: Model, assigned: number | null): number | null {
    if (assigned !== null && active[assigned]) return assigned;
    return active[0] ? 0 : null;
  }

  function matches(filter: Record<string, unknown>, n: number, from: number | null): boolean {
    const { unassigned, broker_id, fleet_id, device_type, uuids } = filter;
    return (
      (unassigned === undefined || from === null) &&
      (broker_id === undefined || idOf(from) === broker_id) &&
      (fleet_id === undefined || fleetOf(n) === fleet_id) &&
      (device_type === undefined || typeOf(n) === device_type) &&
      (uuids === undefined || (uuids as string[]).includes(`device-${n}`))
    );
  }

  async function expectDryRun({ filter, target: to }: { filter: object; target: number | null }, counts: Counts) {
    const all = Object.keys(filter).length === 0 ? { all: true } : { filter };
    const body = { ...all, target: { mqtt_broker_id: idOf(to) }, dry_run: true };
    const { would_move, already_there, sample } = (await call(`POST ${JOBS}`, { headers: admin, body })).body;
    expect({ moved: would_move, already_there, sample: sample.length }, JSON.stringify(filter)).toEqual({
      ...counts,
      sample: Math.min(10, counts.moved),
    });
  }

  it('jobs, their dry runs and reverts move the same devices as the model', { timeout: 120_000 }, async () => {
    const property = fc.asyncProperty(sequence(command), async (commands) => {
      await arrange();
      const start = Array.from({ length: DEVICES }, (_, n) => [n, n % 4 === 0 ? null : (n % 4) - 1] as const);
      const model: Model = { devices: new Map(start), active: [true, true, true], jobs: [] };
      const created: number[] = [];
      for (const one of commands) {
        const expected = step(model, one);
        if (one.do === 'assign' && expected.counts) await expectDryRun(one, expected.counts);
        const answer = await run(one, call, created);
        expect(codeOf(answer), JSON.stringify(one)).toBe(expected.code);
        if (expected.counts !== undefined) {
          created.push(answer.body.id);
          const { body } = await finished(answer);
          expect(body, JSON.stringify(one)).toMatchObject({ state: 'finished', ...expected.counts });
          const says = expect(String(body.notice), JSON.stringify(one));
          if (one.do === 'assign' && body.moved + body.already_there === 0) says.toMatch(/^No device matches/);
          else says.not.toMatch(/^No device matches/);
        }
        expect(await assignments(), JSON.stringify(one)).toEqual(
          Object.fromEntries([...model.devices].map(([n, at]) => [`device-${n}`, idOf(at)])),
        );
      }
    });
    await fc.assert(property, { numRuns: 80 });
  });

  it('run concurrently with each other and with single moves, they record a gapless history of each device', async () => {
    const batch = fc.array(fc.oneof(assign, assign, revert, move, move, activate), { minLength: 3, maxLength: 8 });
    const property = fc.asyncProperty(fc.array(batch, { minLength: 1, maxLength: 3 }), async (batches) => {
      await arrange();
      const at = await assignments();
      for (const commands of batches) {
        const answers = await concurrently(commands, run);
        for (const answer of answers) expect(answer.status, answer.text).toBeLessThan(500);
      }
      await workOnOpenJobs(contextFor(20_000));
      const events = await berth.sql(`select * from device_events where type = 'moved' order by id`);
      for (const { device_uuid, from_broker_id, to_broker_id } of events) {
        expect(from_broker_id, `${device_uuid} in ${JSON.stringify(events)}`).toBe(at[device_uuid]);
        at[device_uuid] = to_broker_id;
      }
      expect(await assignments()).toEqual(at);
      const jobs = await berth.sql(`
        select j.id, j.state, j.moved, j.skipped,
               (select count(*)::int from device_events e
                where e.job_id = j.id and e.type = 'moved' and e.reason <> 'already-there') as moves,
               (select count(*)::int from device_events e where e.job_id = j.id and e.reason = 'already-there') as stays,
               (select count(*)::int from device_events e where e.job_id = j.id and e.type = 'skipped') as skips,
               (select count(distinct e.device_uuid)::int from device_events e where e.job_id = j.id) as devices
        from bulk_assign_jobs j`);
      for (const { id, state, moved, skipped, moves, stays, skips, devices } of jobs) {
        expect(['finished', 'failed'], `job ${id}`).toContain(state);
        expect({ moved, skipped, devices }).toEqual({ moved: moves, skipped: skips, devices: moves + stays + skips });
      }
    });
    await fc.assert(property, { numRuns: 25 });
  });
});
