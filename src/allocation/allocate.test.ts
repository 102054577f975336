import { describe, expect, it } from 'vitest';
import type { PlanRequest, PlanResult, Refusal, SessionPlan, Snapshot, SnapshotNode } from '../contracts/plan.js';
import type { GraphHandler } from '../contracts/service.js';
import { allocate } from './allocate.js';
import { PROFILE_SAMPLES_MIN } from './bounds.js';
import { alternative, handler, mesh, node, request, service, snapshotOf, variant } from './fixtures.testing.js';
import { verifyPlan } from './verify.js';

function planOf(result: PlanResult): SessionPlan {
  if (!result.admitted) throw new Error(`refused: ${result.refusal.reasons.join('; ')}`);
  return result.plan;
}

function refusalOf(result: PlanResult): Refusal {
  if (result.admitted) throw new Error(`admitted: ${result.plan.reasons.join('; ')}`);
  return result.refusal;
}

const where = (plan: SessionPlan) =>
  plan.handlers.map((one) => `${one.handler_name}=${one.alternative} @${one.node_name}`).join(', ');

const capture = handler(0, 'capture', { at: { kind: 'source' } });

/** capture on client-1, then `detect`; what rejects `edge` for detect. */
function rejectionOn(edge: SnapshotNode, detect: Partial<GraphHandler> = {}): string | undefined {
  const nodes = [node(0, 'client-1'), edge];
  const asked = request([variant([capture, handler(1, 'detect', detect)])]);
  const result = allocate(asked, snapshotOf(nodes));
  const candidates = result.admitted
    ? result.plan.handlers.find((one) => one.handler_name === 'detect')!.candidates
    : result.refusal.candidates.find((one) => one.handler_name === 'detect')!.candidates;
  return candidates.find((one) => one.node_id === edge.node_id)!.rejected;
}

const costs = (cost: Parameters<typeof alternative>[1]) => ({ alternatives: [alternative('default', cost)] });

describe('rejections say value and bound', () => {
  const detectType = 3;
  it.each<[string, SnapshotNode, Partial<GraphHandler>]>([
    ['lost', node(1, 'edge-1', { up: false }), {}],
    ['drained', node(1, 'edge-1', { drained: true }), {}],
    [`no handler type ${detectType}`, node(1, 'edge-1', { handler_types: [2] }), {}],
    ['pinned to client-1', node(1, 'edge-1'), { at: { kind: 'source' } }],
    ['pinned to client-1', node(1, 'edge-1'), { at: { kind: 'node', node_id: 0 } }],
    ['pinned to node 9', node(1, 'edge-1'), { at: { kind: 'node', node_id: 9 } }],
    ['pinned to label lab', node(1, 'edge-1'), { at: { kind: 'label', label: 'lab' } }],
    ['lacks label lab', node(1, 'edge-1'), { require: { label: 'lab' } }],
    ['needs a gpu', node(1, 'edge-1'), { require: { gpu: true } }],
    ['needs a gpu', node(1, 'edge-1'), costs({ gpu_ms: 5 })],
    ['memory 310 MiB free < 420 MiB', node(1, 'edge-1', { mem_mb_free: 310 }), costs({ mem_mb: 420 })],
    ['memory 310 MiB free < 420 MiB', node(1, 'edge-1', { mem_mb_free: 310 }), { require: { mem_mb: 420 } }],
    ['cpu 812 ms/s needed > 640 ms/s free', node(1, 'edge-1', { cpu_ms_per_s_free: 640 }), costs({ cpu_ms: 81.2 })],
    [
      'gpu 300 ms/s needed > 200 ms/s free',
      node(1, 'edge-1', { gpus: 1, gpu_ms_per_s_free: 200 }),
      costs({ gpu_ms: 30 }),
    ],
    ['one core 900 ms/s needed > 800 ms/s: a handler is sequential', node(1, 'edge-1'), costs({ cpu_ms: 90 })],
  ])('%s', (words, edge, detect) => {
    expect(rejectionOn(edge, detect)).toBe(words);
  });

  it('counts handlers of one session on one node together', () => {
    const nodes = [node(0, 'client-1', { mem_mb_free: 250 }), node(1, 'edge-1', { mem_mb_free: 100 })];
    const chain = variant([capture, handler(1, 'detect'), handler(2, 'recognize')]);
    const plan = planOf(allocate(request([chain]), snapshotOf(nodes)));
    expect(where(plan)).toBe('capture=default @client-1, detect=default @client-1, recognize=default @edge-1');
    const recognize = plan.handlers[2]!.candidates.find((one) => one.node_id === 0)!;
    expect(recognize.rejected).toBe('memory 250 MiB free < 300 MiB beside capture, detect');
  });

  it('counts links of one session over one path together', () => {
    const join = handler(2, 'draw', { at: { kind: 'node', node_id: 1 } });
    const fork = variant([capture, handler(1, 'detect', { at: { kind: 'source' } }), join], {
      arcs: [
        [0, 1],
        [0, 2],
        [1, 2],
      ],
    });
    const nodes = [node(0, 'client-1'), node(1, 'edge-1')];
    // 10 fps x 10 000 bytes = 0.8 Mbit/s for each of two links.
    const refusal = refusalOf(allocate(request([fork]), { nodes, links: mesh(nodes, 1, 1.5), profiles: [] }));
    expect(refusal.reasons[0]).toContain('bandwidth 1.6 Mbit/s needed > 1.5 Mbit/s free from client-1 to edge-1');
    expect(refusal.nearest?.fps).toBe(9.3);
    expect(allocate(request([fork]), { nodes, links: mesh(nodes, 1, 1.6), profiles: [] }).admitted).toBe(true);
  });

  it('names a path that is missing or too thin', () => {
    const nodes = [node(0, 'client-1'), node(1, 'edge-1')];
    const asked = request([variant([capture, handler(1, 'detect', { at: { kind: 'node', node_id: 1 } })])]);
    expect(refusalOf(allocate(asked, { nodes, links: [], profiles: [] })).reasons).toEqual([
      'capture -> detect: no path from client-1 to edge-1',
    ]);
    const thin = refusalOf(allocate(asked, { nodes, links: mesh(nodes, 1, 0.5), profiles: [] }));
    expect(thin.reasons[0]).toContain('bandwidth 0.8 Mbit/s needed > 0.5 Mbit/s free from client-1 to edge-1');
    expect(thin.nearest).toEqual({ fps: 6.2 });
  });

  it('says for every node why no handler can run', () => {
    const nodes = [node(0, 'client-1'), node(1, 'edge-1', { up: false })];
    const detect = handler(1, 'detect', { require: { gpu: true } });
    const refusal = refusalOf(allocate(request([variant([capture, detect])]), snapshotOf(nodes)));
    expect(refusal.reasons).toEqual(['detect: no node can run it: client-1: needs a gpu, edge-1: lost']);
    expect(refusal.nearest).toBeUndefined();
  });
});

/** A slow accurate and a fast rough detector; edge is three times as fast as the client. */
function faceChain(): PlanRequest {
  const detect = handler(1, 'detect', {
    alternatives: [alternative('large', { cpu_ms: 60 }, 0.97), alternative('small', { cpu_ms: 12 }, 0.9)],
  });
  return request([variant([capture, detect, handler(2, 'render', { at: { kind: 'source' } })])]);
}

const faceNodes = [
  node(0, 'client-1', { speed: 0.5 }),
  node(1, 'edge-1', { speed: 1.5 }),
  node(2, 'cloud-1', { speed: 2 }),
];
const faceSnapshot: Snapshot = {
  nodes: faceNodes,
  links: [
    ...mesh(faceNodes.slice(0, 2), 1),
    ...mesh([faceNodes[0]!, faceNodes[2]!], 25),
    ...mesh(faceNodes.slice(1), 24),
  ],
  profiles: [],
};

const asking = (objective: Partial<PlanRequest['objective']>, given: Partial<PlanRequest> = {}): PlanRequest => ({
  ...faceChain(),
  objective: { fps: 5, ...objective },
  ...given,
});

describe('choice', () => {
  it('takes the most accurate variant that meets the latency, and explains it', () => {
    const plan = planOf(allocate(asking({ latency_ms_max: 150 }), faceSnapshot));
    expect(where(plan)).toContain('detect=large @edge-1');
    expect(plan.variant).toBe('large');
    expect(plan.reasons[0]).toBe('variant large: highest accuracy 0.97 among 2 of 2 variants that meet latency 150 ms');
    expect(plan.reasons.find((one) => one.startsWith('detect @edge-1: saves '))).toMatch(
      /saves \d+\.\d ms against (cloud-1|client-1)$/,
    );
    expect(plan.reasons).toContain('capture @client-1: pinned');
    expect(plan.runner_up).toMatchObject({ variant: 'small', why_not: 'accuracy 0.9 < 0.97' });
    expect(verifyPlan(plan, asking({ latency_ms_max: 150 }), faceSnapshot)).toEqual([]);
  });

  it('falls to a cheaper variant under a tighter bound', () => {
    const plan = planOf(allocate(asking({ latency_ms_max: 75 }), faceSnapshot));
    expect(plan.variant).toBe('small');
    expect(plan.reasons[0]).toBe('variant small: the only one of 2 variants that meets latency 75 ms, accuracy 0.9');
    expect(plan.runner_up?.why_not).toMatch(/slower$/);
    const large = plan.handlers[1]!.candidates.find((one) => one.alternative === 'large' && one.node_id === 1)!;
    expect(large.rejected).toMatch(/^latency \d+\.\d ms > 75\.0 ms with the rest as planned$/);
  });

  it('takes a forced variant by its joined name and names the known ones otherwise', () => {
    expect(planOf(allocate(asking({}, { variant: 'small' }), faceSnapshot)).variant).toBe('small');
    expect(() => allocate(asking({}, { variant: 'huge' }), faceSnapshot)).toThrow(
      expect.objectContaining({
        code: 'VARIANT_NOT_FOUND',
        message: expect.stringContaining('known: default, large, small'),
      }),
    );
  });

  it('chooses between variants that spell out their own graphs', () => {
    const one = (variant_name: string, accuracy: number, cpu_ms: number) =>
      variant([capture, handler(1, 'detect', costs({ cpu_ms }))], { variant_name, accuracy });
    const variants = [one('fast', 0.9, 12), one('accurate', 0.97, 60), one('huge', 0.99, 900)];
    const asked = request(variants, { objective: { fps: 5, latency_ms_max: 150 } });
    const plan = planOf(allocate(asked, faceSnapshot));
    expect(plan.reasons[0]).toBe(
      'variant accurate: highest accuracy 0.97 among 2 of 3 variants that meet latency 150 ms',
    );
    expect(plan.runner_up).toMatchObject({ variant: 'fast', why_not: 'accuracy 0.9 < 0.97' });
    expect(verifyPlan(plan, asked, faceSnapshot)).toEqual([]);
    expect(planOf(allocate({ ...asked, variant: 'fast' }, faceSnapshot)).reasons[0]).toBe('variant fast: asked for');
    expect(refusalOf(allocate({ ...asked, variant: 'huge' }, faceSnapshot)).nearest?.fps).toBeLessThan(5);
  });

  it('uses a measured profile once it has enough samples', () => {
    const profile = { handler_type: 3, key: 'model=large', node_id: 1, service_ms: 150, cpu_ms: 120, out_bytes: 500 };
    const few = { ...faceSnapshot, profiles: [{ ...profile, samples: PROFILE_SAMPLES_MIN - 1 }] };
    const enough = { ...faceSnapshot, profiles: [{ ...profile, samples: PROFILE_SAMPLES_MIN }] };
    expect(planOf(allocate(asking({}), few))).toEqual(planOf(allocate(asking({}), faceSnapshot)));
    const plan = planOf(allocate(asking({}), enough));
    const measured = plan.handlers[1]!.candidates.find((one) => one.node_id === 1 && one.alternative === 'large')!;
    expect(measured).toMatchObject({ compute_ms: 150, profile: 'measured' });
    expect(where(plan)).toContain('detect=large @cloud-1');
    expect(verifyPlan(plan, asking({}), enough)).toEqual([]);
  });

  it('stays unless moving saves more than it costs', () => {
    const before = planOf(allocate(asking({}), faceSnapshot));
    const at = (node_id: number) =>
      before.handlers.map((one) => ({
        handler_id: one.handler_id,
        alternative: one.alternative,
        node_id: one.handler_name === 'detect' ? node_id : one.node_id,
      }));
    // cloud-1 is some 38 ms slower by its links: worth a move back; a link of 8 ms is not.
    expect(where(planOf(allocate(asking({}, { previous: at(2) }), faceSnapshot)))).toContain('@edge-1');
    const near = { ...faceSnapshot, links: mesh(faceNodes, 8) };
    const links = near.links.map((one) => (one.source_node + one.target_node === 1 ? { ...one, latency_ms: 1 } : one));
    const plan = planOf(allocate(asking({}, { previous: at(2) }), { ...near, links }));
    expect(where(plan)).toContain('detect=large @cloud-1');
  });

  it('spreads sessions over equal nodes', () => {
    const nodes = [
      node(0, 'client-1', { handler_types: [2] }),
      node(1, 'edge-1', { cpu_ms_per_s_free: 5000 }),
      node(2, 'edge-2'),
    ];
    const plan = planOf(allocate(request([variant([capture, handler(1, 'detect')])]), snapshotOf(nodes)));
    expect(where(plan)).toContain('detect=default @edge-2');
  });

  it('says that a better plan may exist when its bound is hit', () => {
    const nodes = Array.from({ length: 6 }, (_, id) => node(id, `node-${id}`, { mem_mb_free: 200 }));
    const chain = variant([0, 1, 2, 3, 4, 5].map((id) => handler(id, `h${id}`)));
    const exact = planOf(allocate(request([chain]), snapshotOf(nodes)));
    expect(exact.exact).toBe(true);
    const bounded = planOf(allocate(request([chain]), snapshotOf(nodes), { labelsMax: 10 }));
    expect(verifyPlan(bounded, request([chain]), snapshotOf(nodes))).toEqual([]);
    expect(bounded.exact).toBe(false);
    expect(bounded.reasons.at(-1)).toContain('a better plan may exist');
  });
});

describe('refusal', () => {
  it('says what binds and proposes an objective that is admitted', () => {
    const asked = asking({ latency_ms_max: 20, accuracy_min: 0.95 });
    const { reasons, nearest } = refusalOf(allocate(asked, faceSnapshot));
    expect(reasons[0]).toMatch(
      /^latency \d+\.\d ms at least with accuracy 0\.95 or more \(variant large\) > 20\.0 ms allowed$/,
    );
    expect(reasons.some((one) => one.startsWith('would be admitted with '))).toBe(true);
    expect(allocate({ ...asked, objective: nearest! }, faceSnapshot).admitted).toBe(true);
  });

  it('says how accurate it can be at best', () => {
    const asked = asking({ accuracy_min: 0.99 });
    const { reasons, nearest } = refusalOf(allocate(asked, faceSnapshot));
    expect(reasons[0]).toBe('accuracy 0.97 at most with any variant that can run here < 0.99 wanted');
    expect(nearest).toEqual({ fps: 5, accuracy_min: 0.97 });
  });

  it('lowers the frame rate when nothing else would help', () => {
    const asked = asking({ fps: 200 });
    const { nearest } = refusalOf(allocate(asked, faceSnapshot));
    expect(nearest!.fps).toBeLessThan(200);
    expect(allocate({ ...asked, objective: nearest! }, faceSnapshot).admitted).toBe(true);
    expect(allocate({ ...asked, objective: { fps: nearest!.fps + 0.1 } }, faceSnapshot).admitted).toBe(false);
  });
});

describe('static template', () => {
  const pinned = variant(
    [
      handler(0, 'capture', { at: { kind: 'node', node_id: 0 } }),
      handler(1, 'detect', { at: { kind: 'node', node_id: 1 }, ...costs({ cpu_ms: 300, mem_mb: 9000 }) }),
    ],
    { variant_name: 'template' },
  );
  const asked: PlanRequest = {
    service: service([pinned], {
      template: [
        { node_id: 0, handler_ids: [0] },
        { node_id: 1, handler_ids: [1] },
      ],
    }),
    objective: { fps: 10 },
    source_node: 0,
  };

  it('is placed as it stands, and what is over-committed is said', () => {
    const nodes = [node(0, 'client-1'), node(1, 'edge-1')];
    const plan = planOf(allocate(asked, snapshotOf(nodes)));
    expect(where(plan)).toBe('capture=default @client-1, detect=default @edge-1');
    expect(plan.reasons).toContain('warning: edge-1: memory 8000 MiB free < 9000 MiB');
    expect(verifyPlan(plan, asked, snapshotOf(nodes))).toEqual([]);
  });

  it('is refused when a node is lost', () => {
    const refusal = refusalOf(allocate(asked, snapshotOf([node(0, 'client-1'), node(1, 'edge-1', { up: false })])));
    expect(refusal.reasons).toEqual(['detect: no node can run it: client-1: pinned to edge-1, edge-1: lost']);
  });
});
