import { describe, expect, test } from 'vitest';
import type { FleetSnapshot } from '../../contracts/fleet.js';
import { profileKey } from '../../contracts/plan.js';
import { allocateFleet, ORCHESTRATOR } from './allocator.js';
import { instanceOf } from './instances.js';
import { capacityOf, whatIf } from './whatif.js';

/** The instance with every session running. */
function running(): FleetSnapshot {
  const snapshot = instanceOf({ nodes: 6, sessions: 6, seed: 3 });
  const placed = new Map(
    allocateFleet(snapshot, ORCHESTRATOR, { iterations: 200 }).sessions.map((one) => [one.session_id, one]),
  );
  const sessions = snapshot.sessions.flatMap((one) => {
    const { placement, variant } = placed.get(one.session_id) ?? {};
    return placement === undefined ? [] : [{ ...one, previous: placement, previous_variant: variant }];
  });
  return { ...snapshot, sessions };
}

const fleet = running();
const added = {
  service: fleet.services[0]!.service_name,
  objective: { fps: 15, latency_ms_max: 400, accuracy_min: 0.6 },
  source_node: 0,
};

describe('what if', () => {
  test('nothing changes, nothing moves', () => {
    const answer = whatIf(fleet, { lose: [], add: 0, added: null });
    expect(answer).toMatchObject({
      running: { kept: fleet.sessions.length, now: fleet.sessions.length },
      degraded: [],
    });
    expect(answer.plan.moved).toBe(0);
  });

  test('nobody runs on a node that is gone', () => {
    const strong = fleet.nodes.at(-1)!.node_id;
    const { plan } = whatIf(fleet, { lose: [strong], add: 0, added: null });
    expect(plan.sessions.flatMap((one) => one.placement).map((one) => one.node_id)).not.toContain(strong);
  });

  test('a capacity is what fits, and one more does not', () => {
    const { more, moreSmaller, bottleneck } = capacityOf(fleet, added);
    expect(more).toBeLessThanOrEqual(moreSmaller);
    expect(moreSmaller).toBeGreaterThan(0);
    expect(bottleneck).not.toBeNull();
    const all = (add: number) => whatIf(fleet, { lose: [], add, added }).added;
    expect(all(moreSmaller)).toEqual({ admitted: moreSmaller, asked: moreSmaller });
    expect(all(moreSmaller + 1).admitted).toBeLessThan(moreSmaller + 1);
  });

  test('services of several variants run on with any of them', () => {
    const services = fleet.services.map((one) => ({
      ...one,
      variants: one.variants.flatMap((variant) => [
        { ...variant, variant_name: `${variant.variant_name} again`, accuracy: variant.accuracy * 0.9 },
        variant,
      ]),
    }));
    const many = { ...fleet, services };
    expect(capacityOf(many, added).moreSmaller).toBeGreaterThan(0);
    for (const lose of fleet.nodes.map((one) => one.node_id)) {
      const { plan } = whatIf(many, { lose: [lose], add: 3, added });
      expect(plan.sessions.flatMap((one) => one.placement).map((one) => one.node_id)).not.toContain(lose);
    }
  });

  test('no latency bound admits nothing that cannot keep up', () => {
    // 200 ms of waiting in one handler: little CPU, but 15 frames per second are three times what it passes.
    const profiles = fleet.services[0]!.variants.flatMap(({ handlers: [, slow] }) =>
      slow!.alternatives.flatMap(({ params }) =>
        fleet.nodes.map(({ node_id }) => ({
          ...{ handler_type: slow!.handler_type, key: profileKey(params), node_id, samples: 1000 },
          ...{ service_ms: 200, cpu_ms: 1, out_bytes: 1000 },
        })),
      ),
    );
    const idle = { ...fleet, sessions: [], profiles };
    const { plan, added: of } = whatIf(idle, { lose: [], add: 2, added: { ...added, objective: { fps: 15 } } });
    expect(of.admitted).toBe(0);
    expect(plan.refused).toHaveLength(2);
  });
});
