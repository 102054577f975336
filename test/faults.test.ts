/**
 * Everything that can die dies, hangs or loses its cable, at random times under load: under `all` every sequence comes
 * out exactly once, every account sums, and nothing runs that nobody wants. A few rounds here; `npm run test:faults`
 * plays fifty. ORCHESTRATOR_FAULT_SEED plays the same faults again.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, describe, expect, test } from 'vitest';
import { awaitSession } from '../src/main/session-wait.js';
import { seededRandom } from '../src/std/prng.js';
import { hasMariadb } from '../src/store/mysql/mariadb.testing.js';
import { type Fault, type FaultSystem, lossFault, startFaultSystem, wholeJournal } from './support/fault-system.js';
import { hasNamespaces } from './support/namespaces.js';
import { eventually } from './support/system.js';

const ROUNDS = Number(process.env.ORCHESTRATOR_FAULT_ROUNDS ?? 4);
const SEED = Number(process.env.ORCHESTRATOR_FAULT_SEED ?? Date.now() % 1_000_000);
/** Between two faults at most, ms. */
const CALM_MS_MAX = 1_500;
const ROUND_MS_MAX = 120_000;

let broken: FaultSystem | undefined;

afterEach(async () => {
  await broken?.close();
});

/** Every fault as often as the others, in random order. */
function* shuffled(faults: readonly Fault[], random: () => number): Generator<Fault> {
  for (;;) {
    const order = faults.map((fault) => ({ fault, at: random() })).sort((a, b) => a.at - b.at);
    for (const { fault } of order) yield fault;
  }
}

describe.runIf(hasMariadb() && hasNamespaces())('faults', () => {
  test(
    `${ROUNDS} rounds, seed ${SEED}`,
    async () => {
      broken = await startFaultSystem();
      const { system, sessionIds, faults } = broken;
      const { coordinator } = system;
      const random = seededRandom(SEED);
      await broken.healthy('at first');
      const order = shuffled(faults, random);
      for (let round = 1; round <= ROUNDS; round++) {
        const fault = order.next().value as Fault;
        const lastsMs = Math.round(fault.lastsMsMax * random());
        const name = `round ${round} of seed ${SEED}: ${fault.name} for ${lastsMs} ms`;
        await pause(CALM_MS_MAX * random());
        await fault.break(random);
        await pause(lastsMs);
        await fault.mend();
        const mendedMs = performance.now();
        await broken.healthy(name);
        broken.checkDescriptors();
        if (ROUNDS > 10)
          process.stdout.write(`${name}; healthy ${Math.round(performance.now() - mendedMs)} ms after\n`);
      }

      for (const [delivery, id] of Object.entries(sessionIds) as ['all' | 'latest', number][]) {
        await coordinator.stopSession(id);
        await awaitSession(coordinator, id, ({ observed }) => observed === 'stopped', { timeoutMs: 60_000 });
        const sink = await eventually(`the last report of session ${id}`, async () => {
          const loss = await coordinator.loss(id);
          expect(lossFault(loss, delivery)).toBe(null);
          return loss.sinks[0]!.in_flight === 0 ? loss.sinks[0]! : undefined;
        });
        if (delivery === 'all') {
          expect(sink).toMatchObject({ drops: [], skipped: 0, delivered: wholeJournal(system, id) });
        }
        if (ROUNDS > 10) process.stdout.write(`session ${id}, ${delivery}: ${JSON.stringify(sink)}\n`);
      }
      const { processes } = broken;
      await broken.close();
      expect(processes()).toEqual([]);
    },
    60_000 + ROUNDS * ROUND_MS_MAX,
  );
});
