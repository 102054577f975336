import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { allocateFleet } from '../allocation/fleet/allocator.js';
import { instanceOf } from '../allocation/fleet/instances.js';
import { verifyFleet } from '../allocation/fleet/verify-fleet.js';
import { ALGORITHMS, findAllocator } from './allocators.js';
import { planFile } from './plan.js';
import { askCapacity, askWhatIf, readFleet } from './whatif.js';

const directory = mkdtempSync(join(tmpdir(), 'plan-'));

const written = (name: string, text: string): string => {
  const file = join(directory, name);
  writeFileSync(file, text);
  return file;
};

const page = readFileSync(new URL('../../docs/plan.md', import.meta.url), 'utf8');
const file = written('snapshot.json', /```json\n([\s\S]*?)```/.exec(page)![1]!);
const options = {
  file,
  algorithm: 'orchestrator',
  seed: 1,
  iterations: undefined,
  replan: false,
  explain: false,
  boundMs: null,
};

describe('plan', () => {
  test('plans the snapshot of docs/plan.md with the large detector on the edge', async () => {
    const { plan, accuracy } = await planFile(options);
    expect(plan.refused).toEqual([]);
    expect(accuracy).toBeCloseTo(0.97, 9);
    expect(plan.sessions[0]!.placement[1]).toEqual({ handler_id: 2, node_id: 2, alternative: 'large' });
  });

  test('says how far the plan is from what no plan can pass', async () => {
    const { plan } = await planFile({ ...options, boundMs: 60_000 });
    expect(plan.bound).toMatchObject({ finished: true });
    expect(plan.bound!.utility).toBeCloseTo(10.97, 3);
    expect(plan.bound!.gap).toBeLessThan(1e-3);
  });

  test('every algorithm that docs/plan.md names is one, and all are named', async () => {
    for (const algorithm of ALGORITHMS) {
      expect(page).toContain(`\`${algorithm}\``);
      expect((await planFile({ ...options, algorithm })).plan.algorithm).toBe(algorithm);
    }
  });

  test('plans with the example of an own algorithm, on one node where one will do', async () => {
    const own = await findAllocator(fileURLToPath(new URL('../../examples/allocator/pack.mjs', import.meta.url)));
    const instance = instanceOf({ nodes: 12, sessions: 16, seed: 5 });
    const first = allocateFleet(instance, own);
    expect(verifyFleet(first, instance)).toEqual([]);
    expect(first.sessions.length).toBeGreaterThan(3);
    const byId = new Map(first.sessions.map((one) => [one.session_id, one]));
    const sessions = instance.sessions.map((one) => {
      const planned = byId.get(one.session_id);
      return planned === undefined ? one : { ...one, previous: planned.placement, previous_variant: planned.variant };
    });
    const running = { ...instance, sessions };
    const held = new Set(byId.keys());
    const second = allocateFleet(running, own, { held });
    expect(verifyFleet(second, running, held)).toEqual([]);
    expect(second.sessions).toEqual(first.sessions);
  });

  test('takes a module of the user, and holds its plan to the verifier', async () => {
    const refuseAll = `export default { name: 'none', plan: (fleet) => ({ algorithm: 'none', sessions: [], moved: 0, utility: 0,
      refused: fleet.tasks.map(({ session }) => ({ session_id: session.session_id, reason: 'by choice' })) }) };`;
    const { plan } = await planFile({ ...options, algorithm: written('none.mjs', refuseAll) });
    expect(plan.refused).toEqual([{ session_id: 1, reason: 'by choice' }]);
    const forgets = refuseAll.replace('fleet.tasks.map', '[].map');
    await expect(planFile({ ...options, algorithm: written('forgets.mjs', forgets) })).rejects.toThrow(
      'session 1 is neither placed nor refused',
    );
  });

  test.each([
    ['no algorithm is best', { algorithm: 'best' }],
    ['its default export has no name', { algorithm: written('empty.mjs', 'export const x = 1;') }],
    [
      '/nodes/0/cpu_cores',
      { file: written('bad.json', readFileSync(file, 'utf8').replace('"cpu_cores": 4', '"cpu_cores": -4')) },
    ],
  ])('says what is wrong: %s', async (message, change) => {
    await expect(planFile({ ...options, ...change })).rejects.toThrow(message);
  });
});

describe('whatif and capacity', () => {
  const fleet = readFleet(file);

  test('say what is left when a node is gone, and how many more fit', () => {
    const lost = askWhatIf(fleet, { lose: ['edge'], add: 0, asked: null });
    expect(lost.plan.sessions.flatMap((one) => one.placement).every((one) => one.node_id === 1)).toBe(true);
    const asked = { service: 'faces', objective: { fps: 12 } };
    const { running, more, moreSmaller, objective } = askCapacity(fleet, asked);
    expect(running).toBe(0);
    expect(objective).toEqual({ fps: 12, latency_ms_max: 200, accuracy_min: 0.85 });
    expect(more).toBeGreaterThan(0);
    const { added } = askWhatIf(fleet, { lose: [], add: moreSmaller + 1, asked });
    expect(added.admitted).toBeLessThan(added.asked);
  });

  test.each([
    [{ lose: ['nowhere'], add: 0, asked: null }, 'no node is nowhere; known: camera, edge'],
    [{ lose: [], add: 1, asked: null }, 'say of which service'],
    [{ lose: [], add: 1, asked: { service: 'cars', objective: {} } }, 'no service is cars; known: faces'],
    [{ lose: [], add: 5000, asked: null }, 'add 5000 is more than 4096'],
  ])('%j is refused', (options, message) => {
    expect(() => askWhatIf(fleet, options)).toThrow(message);
  });
});
