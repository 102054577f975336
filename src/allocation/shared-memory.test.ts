/** Models that sessions share: their memory is charged once per node, to whichever session comes first. */
import { expect, test } from 'vitest';
import type { SessionPlan, Snapshot } from '../contracts/plan.js';
import { allocate } from './allocate.js';
import { alternative, handler, node, request, snapshotOf, variant } from './fixtures.testing.js';
import { residualSnapshot } from './residual.js';
import { verifyPlan } from './verify.js';

/** 100 MiB of each session and 300 of the model; the rest of the chain needs nothing. */
function wanted(name = 'm', model_mb: number | undefined = 300) {
  const free = { cpu_ms: 1, mem_mb: 0 };
  return request([
    variant([
      handler(1, 'capture', { alternatives: [alternative('default', free)] }),
      handler(2, 'detect', { alternatives: [alternative(name, { cpu_ms: 1, mem_mb: 100, model_mb })], share: true }),
      handler(3, 'render', { alternatives: [alternative('default', free)] }),
    ]),
  ]);
}

function place(snapshot: Snapshot, one = wanted()): SessionPlan | string {
  const result = allocate(one, snapshot);
  if (!result.admitted) return result.refusal.reasons.join(' ');
  expect(verifyPlan(result.plan, one, snapshot)).toEqual([]);
  return result.plan;
}

test('the first session pays for the model, the others only for themselves, and the last one is refused by memory', () => {
  const base = snapshotOf([node(0, 'edge', { mem_mb_free: 650 })]);
  const plans: SessionPlan[] = [];
  for (let session = 1; session <= 3; session++) {
    const plan = place(residualSnapshot(base, plans)) as SessionPlan;
    expect(plan.handlers[1]).toMatchObject({ share: true, mem_mb: 100, model_mb: 300 });
    plans.push(plan);
    expect(residualSnapshot(base, plans).nodes[0]!.mem_mb_free).toBe(650 - 300 - 100 * session);
  }
  expect(place(residualSnapshot(base, plans))).toMatch(/memory/i);
  // Whoever leaves, the model stays as long as one session holds it.
  expect(residualSnapshot(base, plans.slice(1)).nodes[0]!.mem_mb_free).toBe(150);
  expect(residualSnapshot(base, []).nodes[0]!.mem_mb_free).toBe(650);
});

test('another model is another charge, and a session that does not share pays in full', () => {
  const base = snapshotOf([node(0, 'edge', { mem_mb_free: 700 })]);
  const first = place(base) as SessionPlan;
  expect(place(residualSnapshot(base, [first]), wanted('other'))).toMatch(/memory/i);
  const own = place(residualSnapshot(base, [first]), wanted('m', 0)) as SessionPlan;
  expect(own.handlers[1]!.model_mb).toBeUndefined();
  expect(residualSnapshot(base, [first, own]).nodes[0]!.mem_mb_free).toBe(200);
});

test('a node whose sessions have the model takes a session that no other node has room for', () => {
  const base = snapshotOf([node(0, 'a', { mem_mb_free: 420 }), node(1, 'b', { mem_mb_free: 510 })]);
  const pinned = wanted();
  const [first, ...rest] = pinned.service.variants;
  const at = { kind: 'node', node_id: 1 } as const;
  const onB = { ...first!, handlers: first!.handlers.map((one) => (one.handler_id === 2 ? { ...one, at } : one)) };
  const there = place(base, { ...pinned, service: { ...pinned.service, variants: [onB, ...rest] } }) as SessionPlan;
  const elsewhere = place(base) as SessionPlan;
  const left = residualSnapshot(base, [there, { ...elsewhere, handlers: [] }]);
  const next = place({
    ...left,
    nodes: left.nodes.map((one) => (one.node_id === 0 ? { ...one, mem_mb_free: 390 } : one)),
  });
  expect((next as SessionPlan).handlers[1]!.node_id).toBe(1);
});
