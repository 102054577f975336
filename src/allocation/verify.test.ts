import { describe, expect, it } from 'vitest';
import type { SessionPlan } from '../contracts/plan.js';
import { allocate } from './allocate.js';
import { handler, node, request, snapshotOf, variant } from './fixtures.testing.js';
import { residualSnapshot } from './residual.js';
import { verifyPlan } from './verify.js';

const nodes = [node(0, 'client-1'), node(1, 'edge-1', { speed: 4 })];
const asked = request([variant([handler(0, 'capture', { at: { kind: 'source' } }), handler(1, 'detect')])]);

function planned(): SessionPlan {
  const result = allocate(asked, snapshotOf(nodes));
  if (!result.admitted) throw new Error('refused');
  return result.plan;
}

describe('verifyPlan', () => {
  it('finds nothing wrong with a plan as made', () => {
    expect(verifyPlan(planned(), asked, snapshotOf(nodes))).toEqual([]);
  });

  it('finds a node that is gone, full or out of reach', () => {
    const plan = planned();
    const used = plan.handlers[1]!.node_id;
    const changed = (given: object) => nodes.map((one) => (one.node_id === used ? { ...one, ...given } : one));
    expect(verifyPlan(plan, asked, snapshotOf(changed({ up: false })))[0]).toContain('node is lost');
    expect(verifyPlan(plan, asked, snapshotOf(changed({ drained: true })))[0]).toContain('node is drained');
    expect(verifyPlan(plan, asked, snapshotOf(changed({ mem_mb_free: 10 }))).join()).toContain('memory MiB');
    expect(verifyPlan(plan, { ...asked, stay: 'lab' }, snapshotOf(nodes))[0]).toContain('node lacks label lab');
    const there = plan.handlers.map(({ handler_id, node_id, alternative }) => ({ handler_id, node_id, alternative }));
    const held = { ...asked, previous: there };
    expect(verifyPlan(plan, held, snapshotOf(changed({ drained: true })))).toEqual([]);
    expect(verifyPlan(plan, { ...asked, source_node: 1 }, snapshotOf(nodes)).join()).toContain(
      'source_node 0 is not 1',
    );
  });

  it('finds promises that are broken and figures that are not so', () => {
    const plan = planned();
    const tight = { ...asked, objective: { fps: 10, latency_ms_max: 1 } };
    expect(verifyPlan(plan, tight, snapshotOf(nodes)).join()).toContain('latency_ms');
    expect(verifyPlan({ ...plan, accuracy: 0.5 }, asked, snapshotOf(nodes)).join()).toContain('accuracy 0.5 is not 1');
    expect(verifyPlan({ ...plan, latency_ms: 1 }, asked, snapshotOf(nodes)).join()).toContain('latency_ms 1 is not');
    expect(verifyPlan({ ...plan, variant: 'other' }, asked, snapshotOf(nodes))[0]).toContain('variant other');
  });
});

describe('residualSnapshot', () => {
  const base = snapshotOf(nodes.map((one) => ({ ...one, cpu_ms_per_s_free: one.cpu_cores * 1000 })));

  it('cuts processors and links at the cap and subtracts what plans use', () => {
    const plan = planned();
    const rest = residualSnapshot(base, [plan]);
    for (const one of rest.nodes) {
      const here = plan.handlers.filter((each) => each.node_id === one.node_id);
      expect(one.cpu_ms_per_s_free).toBeCloseTo(6400 - here.reduce((sum, each) => sum + each.cpu_ms_per_s, 0), 6);
      expect(one.mem_mb_free).toBeCloseTo(8000 - here.reduce((sum, each) => sum + each.mem_mb, 0), 6);
    }
    const across = plan.links.filter((one) => one.source_node !== one.target_node);
    const link = rest.links.find((one) => one.source_node === 0)!;
    expect(link.mbit_per_s_free).toBeCloseTo(640 - across.reduce((sum, one) => sum + one.mbit_per_s, 0), 6);
  });

  it('never falls below zero, and sessions placed one after the other never overlap', () => {
    const plans: SessionPlan[] = [];
    for (;;) {
      const rest = residualSnapshot(base, plans);
      const result = allocate(asked, rest, { explain: false });
      if (!result.admitted) break;
      expect(verifyPlan(result.plan, asked, rest)).toEqual([]);
      plans.push(result.plan);
    }
    expect(plans.length).toBeGreaterThan(20);
    const left = residualSnapshot(base, [...plans, ...plans]).nodes;
    expect(Math.min(...left.map((one) => one.mem_mb_free))).toBe(0);
  });
});
