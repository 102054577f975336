/** The ledger's promise over random graphs, cuts and kills: `all` delivers exactly once, `latest` accounts exactly once. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { withTimeout } from '../std/deferred.js';
import { seededRandom } from '../std/prng.js';
import { type ClusterOptions, TestCluster, type Topology } from './cluster.testing.js';

const PACKETS = 150;

const anyTopology: fc.Arbitrary<Topology> = fc
  .array(fc.array(fc.nat(), { minLength: 1, maxLength: 3 }), { minLength: 0, maxLength: 4 })
  .map((choices) => {
    const inputs: number[][] = [
      [],
      ...choices.map((picks, index) => [...new Set(picks.map((pick) => pick % (index + 1)))]),
    ];
    const fed = new Set(inputs.flat());
    const leaves = inputs.map((_, handler) => handler).filter((handler) => !fed.has(handler));
    return { inputs: [...inputs, leaves] };
  });

interface Faults {
  /** Share of the turns of the event loop in which something breaks. */
  readonly rate: number;
  readonly kills: 'none' | 'workers' | 'all';
}

async function play(options: ClusterOptions, faults: Faults): Promise<TestCluster> {
  const cluster = new TestCluster(options);
  let over = false;
  const breaking = (async () => {
    const { random, inputs } = options;
    for (let faultsLeft = 12; !over && faultsLeft > 0; await new Promise(setImmediate)) {
      if (random() > faults.rate) continue;
      faultsLeft -= 1;
      if (faults.kills === 'none' || random() < 0.5) cluster.cut();
      else if (faults.kills === 'all') cluster.restart(Math.floor(random() * inputs.length));
      else if (inputs.length > 2) cluster.restart(1 + Math.floor(random() * (inputs.length - 2)));
    }
  })();
  try {
    await withTimeout(cluster.ended.promise, 20_000, () => new Error(`stalled after ${cluster.records.length}`));
  } finally {
    over = true;
    await breaking;
    await cluster.close();
  }
  return cluster;
}

const upTo = (count: number) => Array.from({ length: count }, (_, sequence) => sequence);

test.each(['none', 'workers', 'all'] as const)(
  'all: every sequence once, in order, whole (kills: %s)',
  async (kills) => {
    await fc.assert(
      fc.asyncProperty(
        anyTopology,
        fc.integer(),
        fc.double({ min: 0, max: 0.2, noNaN: true }),
        async (topology, seed, rate) => {
          const random = seededRandom(seed);
          const cluster = await play({ ...topology, delivery: 'all', packets: PACKETS, random }, { rate, kills });
          expect(cluster.records).toEqual(upTo(PACKETS).map((sequence) => ({ sequence, what: String(sequence) })));
        },
      ),
      { numRuns: 15 },
    );
  },
);

test.each(['none', 'workers', 'all'] as const)('latest: delivered + dropped = emitted (kills: %s)', async (kills) => {
  await fc.assert(
    fc.asyncProperty(
      anyTopology,
      fc.integer(),
      fc.double({ min: 0, max: 0.2, noNaN: true }),
      async (topology, seed, rate) => {
        const random = seededRandom(seed);
        const cluster = await play({ ...topology, delivery: 'latest', packets: PACKETS, random }, { rate, kills });
        const total = cluster.sink.meter.lastSequence!;
        expect(total).toBeGreaterThanOrEqual(PACKETS);
        expect(cluster.records.map(({ sequence }) => sequence)).toEqual(upTo(total));
        for (const { sequence, what } of cluster.records) {
          if (/^\d+$/.test(what)) expect(what).toBe(String(sequence));
        }
      },
    ),
    { numRuns: 15 },
  );
});

test('all: errors and silence of a handler cost their packets only', async () => {
  const diamond = { inputs: [[], [0], [0, 1], [2]] };
  const failing = new Map([[1, new Set([3, 4, 90])]]);
  const silent = new Map([[2, new Set([10, 11])]]);
  const random = seededRandom(5);
  const options = { ...diamond, delivery: 'all', packets: PACKETS, random, failing, silent } as const;
  const cluster = await play(options, { rate: 0.05, kills: 'workers' });
  const expected = upTo(PACKETS)
    .filter((sequence) => !silent.get(2)!.has(sequence))
    .map((sequence) => ({ sequence, what: failing.get(1)!.has(sequence) ? 'error 1' : String(sequence) }));
  expect(cluster.records).toEqual(expected);
});
