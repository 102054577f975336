/** The switch from one host of a handler to the next, in random interleavings with packets, cuts and kills. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Delivery } from '../contracts/packet.js';
import { withTimeout } from '../std/deferred.js';
import { seededRandom } from '../std/prng.js';
import { TestCluster, type Topology } from './cluster.testing.js';

const PACKETS = 80;
const MOVES_MAX = 4;

/** source -> one to three workers -> sink. */
const anyChain: fc.Arbitrary<Topology> = fc
  .integer({ min: 1, max: 3 })
  .map((workers) => ({ inputs: [[], ...Array.from({ length: workers + 1 }, (_, index) => [index])] }));

const anySwitches = fc.array(
  fc.record({
    worker: fc.nat(),
    at: fc.nat(PACKETS),
    kills: fc.constantFrom('neither', 'old', 'new'),
    cuts: fc.nat(2),
  }),
  { minLength: 1, maxLength: MOVES_MAX },
);
type Switches = typeof anySwitches extends fc.Arbitrary<infer T> ? T : never;

/** One move after the other, each when the sink has come so far. */
async function play(topology: Topology, delivery: Delivery, seed: number, switches: Switches): Promise<TestCluster> {
  const cluster = new TestCluster({ ...topology, delivery, packets: PACKETS, random: seededRandom(seed) });
  const workers = topology.inputs.length - 2;
  let over = false;
  const moving = (async () => {
    for (const { worker, at, kills, cuts } of [...switches].sort((a, b) => a.at - b.at)) {
      while (!over && cluster.records.length < at) await new Promise(setImmediate);
      if (over) return;
      for (let count = 0; count < cuts; count++) cluster.cut();
      await cluster.move(1 + (worker % workers), kills);
    }
  })();
  try {
    await withTimeout(cluster.ended.promise, 20_000, () => new Error(`stalled after ${cluster.records.length}`));
  } finally {
    over = true;
    await withTimeout(moving, 10_000, () => new Error('an old host does not drain'));
    await cluster.close();
  }
  return cluster;
}

test('all: every sequence once, in order, whoever dies during the switch', async () => {
  await fc.assert(
    fc.asyncProperty(anyChain, fc.integer(), anySwitches, async (chain, seed, switches) => {
      const { records } = await play(chain, 'all', seed, switches);
      expect(records).toEqual(Array.from({ length: PACKETS }, (_, sequence) => ({ sequence, what: String(sequence) })));
    }),
    { numRuns: 20 },
  );
});

test('latest: every sequence is accounted once, and nothing is lost with a host that lives to hand over', async () => {
  const peaceful = anySwitches.map((switches) =>
    switches.map((one) => ({ ...one, kills: 'neither' as const, cuts: 0 })),
  );
  await fc.assert(
    fc.asyncProperty(anyChain, fc.integer(), peaceful, async (chain, seed, switches) => {
      const { records } = await play(chain, 'latest', seed, switches);
      expect(records.map(({ sequence }) => sequence)).toEqual(records.map((_, index) => index));
      expect(records.filter(({ what }) => what.startsWith('failover'))).toEqual([]);
    }),
    { numRuns: 20 },
  );
});
