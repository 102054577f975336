import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { FleetNode, FleetPath, FleetSnapshot } from '../../contracts/fleet.js';
import type { PlanRequest, PlanResult, Refusal, SessionPlan } from '../../contracts/plan.js';
import type { GraphHandler } from '../../contracts/service.js';
import { PROFILE_SAMPLES_MIN } from '../bounds.js';
import { allocateFleet, ORCHESTRATOR } from './allocator.js';
import { bestUtility } from './exhaustive-fleet.testing.js';
import { running, tiny, tinySnapshot, withPaths } from './fixtures.testing.js';
import { OneSession } from './one-session.js';
import { alternative, answer, handler, node, request, variant, world } from './session.testing.js';
import { sessionPlan } from './session-plan.js';
import { ADMITTED_UTILITY } from './state.js';

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
const costs = (cost: Parameters<typeof alternative>[1]) => ({ alternatives: [alternative('default', cost)] });

/** capture on client-1, then `detect`; what rejects `edge` for detect. */
function rejectionOn(edge: FleetNode, detect: Partial<GraphHandler>): string | undefined {
  const asked = request([variant([capture, handler(1, 'detect', detect)])]);
  const result = answer(asked, [node(0, 'client-1'), edge]);
  const candidates = result.admitted
    ? result.plan.handlers[1]!.candidates
    : result.refusal.candidates.find((one) => one.handler_name === 'detect')!.candidates;
  return candidates.find((one) => one.node_id === edge.node_id)!.rejected;
}

describe('rejections say value and bound', () => {
  it.each<[string, FleetNode, Partial<GraphHandler>]>([
    ['lost', node(1, 'edge-1', { up: false }), {}],
    ['drained', node(1, 'edge-1', { drained: true }), {}],
    ['no handler type 3', node(1, 'edge-1', { handler_types: [2] }), {}],
    ['pinned to client-1', node(1, 'edge-1'), { at: { kind: 'source' } }],
    ['pinned to client-1', node(1, 'edge-1'), { at: { kind: 'node', node_id: 0 } }],
    ['pinned to node 9', node(1, 'edge-1'), { at: { kind: 'node', node_id: 9 } }],
    ['pinned to label lab', node(1, 'edge-1'), { at: { kind: 'label', label: 'lab' } }],
    ['lacks label lab', node(1, 'edge-1'), { require: { label: 'lab' } }],
    ['needs a gpu', node(1, 'edge-1'), { require: { gpu: true } }],
    ['needs a gpu', node(1, 'edge-1'), costs({ gpu_ms: 5 })],
    ['memory of edge-1: 420 MiB needed > 310 MiB in all', node(1, 'edge-1', { mem_mb: 310 }), costs({ mem_mb: 420 })],
    [
      'memory of edge-1: 420 MiB needed > 310 MiB in all',
      node(1, 'edge-1', { mem_mb: 310 }),
      { require: { mem_mb: 420 } },
    ],
    ['cpu of edge-1: 780 ms/s needed > 640 ms/s in all', node(1, 'edge-1', { cpu_cores: 0.8 }), costs({ cpu_ms: 78 })],
    [
      'one core: 900 ms/s needed by detect > 800 ms/s: a handler is sequential',
      node(1, 'edge-1'),
      costs({ cpu_ms: 90 }),
    ],
  ])('%s', (words, edge, detect) => {
    expect(rejectionOn(edge, detect)).toBe(words);
  });

  it('counts handlers of one session on one node together, beside what others take', () => {
    const nodes = [node(0, 'client-1', { mem_mb: 250 }), node(1, 'edge-1', { mem_mb: 200 })];
    const chain = variant([capture, handler(1, 'detect', { at: { kind: 'source' } }), handler(2, 'recognize')]);
    const asked = request([chain]);
    const plan = planOf(answer(asked, nodes));
    expect(where(plan)).toBe('capture=default @client-1, detect=default @client-1, recognize=default @edge-1');
    expect(plan.handlers[2]!.candidates[0]!.rejected).toBe(
      'memory of client-1: 300 MiB needed by capture, detect, recognize > 250 MiB in all',
    );
    const placed = { session_id: 1, service: 'faces', objective: { fps: 1 }, source_node: 0, weight: 1 };
    const previous = plan.handlers.map(({ handler_id, alternative: name }) => ({
      handler_id,
      node_id: 1,
      alternative: name,
    }));
    const sessions = [{ ...placed, previous: previous.slice(0, 3) }];
    const roomy = [node(0, 'client-1', { mem_mb: 250 }), node(1, 'edge-1', { mem_mb: 350 })];
    const { reasons, candidates } = refusalOf(answer(asked, roomy, { sessions }));
    expect(reasons[0]).toMatch(
      /^each handler fits somewhere, but not all together: memory of client-1: 300 MiB needed by/,
    );
    expect(candidates[2]!.candidates[1]!.rejected).toBe('memory of edge-1: 100 MiB needed > 50 MiB free of 350 MiB');
  });

  it('names a path that is missing or too thin', () => {
    const nodes = [node(0, 'client-1'), node(1, 'edge-1')];
    const asked = request([variant([capture, handler(1, 'detect', { at: { kind: 'node', node_id: 1 } })])]);
    const path = (mbit: number): FleetPath[] => [{ source_node: 0, target_node: 1, latency_ms: 1, mbit }];
    expect(refusalOf(answer(asked, nodes, { paths: path(0) })).reasons[0]).toContain('no way through the network');
    const thin = refusalOf(answer(asked, nodes, { paths: path(0.5) }));
    expect(thin.reasons[0]).toContain('path from client-1 to edge-1: 0.8 Mbit/s needed > 0.4 Mbit/s in all');
    expect(thin.nearest).toEqual({ fps: 5 });
  });

  it('says for every node why no handler can run', () => {
    const nodes = [node(0, 'client-1'), node(1, 'edge-1', { up: false })];
    const asked = request([variant([capture, handler(1, 'detect', { require: { gpu: true } })])]);
    const refusal = refusalOf(answer(asked, nodes));
    expect(refusal.reasons).toEqual(['detect: no node can run it: client-1: needs a gpu, edge-1: lost']);
    expect(refusal.nearest).toBeUndefined();
  });
});

/** A slow accurate and a fast rough detector; edge is three times as fast as the client. */
const faceChain = variant([
  capture,
  handler(1, 'detect', {
    alternatives: [alternative('large', { cpu_ms: 60 }, 0.97), alternative('small', { cpu_ms: 12 }, 0.9)],
  }),
  handler(2, 'render', { at: { kind: 'source' } }),
]);
const far = { latency_ms: 12, up_mbit: 1000, down_mbit: 1000 };
const faceNodes = [
  node(0, 'client-1', { speed: 0.5 }),
  node(1, 'edge-1', { speed: 1.5 }),
  node(2, 'cloud-1', { speed: 2, access: far }),
];
const asking = (objective: Partial<PlanRequest['objective']>, given: Partial<PlanRequest> = {}): PlanRequest =>
  request([faceChain], { objective: { fps: 5, ...objective }, ...given });

describe('choice', () => {
  it('takes the most accurate variant that meets the latency, on the quickest node, and explains it', () => {
    const plan = planOf(answer(asking({ latency_ms_max: 150 }), faceNodes));
    expect(where(plan)).toContain('detect=large @edge-1');
    expect(plan.variant).toBe('large');
    expect(plan.promised_ms).toBeGreaterThan(plan.handlers.reduce((sum, one) => sum + one.compute_ms, 0));
    expect(plan.promised_ms).toBeLessThanOrEqual(150);
    expect(plan.reasons[0]).toBe('variant large: accuracy 0.97, the highest of 2 variants');
    expect(plan.reasons[1]).toMatch(
      /^predicted p95 .*; \d+\.\d ms of 150\.0 ms allowed with mean work on nodes and links that are as full/,
    );
    expect(plan.reasons.find((one) => one.startsWith('detect @edge-1: saves '))).toMatch(
      /saves \d+\.\d ms against cloud-1$/,
    );
    expect(plan.reasons).toContain('capture @client-1: pinned');
    expect(plan.runner_up).toMatchObject({ variant: 'large', why_not: expect.stringMatching(/^\d+\.\d ms slower$/) });
  });

  it('falls to a cheaper variant under a tighter bound, and says what the better one lacks', () => {
    const plan = planOf(answer(asking({ latency_ms_max: 75 }), faceNodes));
    expect(plan.variant).toBe('small');
    expect(plan.reasons[0]).toMatch(
      /^variant small: accuracy 0\.9, of 2 variants; not large with 0\.97: latency \d+\.\d ms > 75\.0 ms$/,
    );
    expect(plan.runner_up).toMatchObject({
      variant: 'large',
      why_not: expect.stringMatching(/^latency .* > 75\.0 ms$/),
    });
    const large = plan.handlers[1]!.candidates.find((one) => one.alternative === 'large' && one.node_id === 1)!;
    expect(large.rejected).toMatch(/^latency \d+\.\d ms > 75\.0 ms with the rest as planned$/);
  });

  it('chooses between variants that spell out their own graphs', () => {
    const one = (variant_name: string, accuracy: number, cpu_ms: number) =>
      variant([capture, handler(1, 'detect', costs({ cpu_ms }))], { variant_name, accuracy });
    const variants = [one('fast', 0.9, 12), one('accurate', 0.97, 60), one('huge', 0.99, 900)];
    const plan = planOf(answer(request(variants, { objective: { fps: 5, latency_ms_max: 150 } }), faceNodes));
    expect(plan.reasons[0]).toBe(
      'variant accurate: accuracy 0.97, the highest of 3 variants that some node keeps up with',
    );
    expect(plan.runner_up).toMatchObject({ variant: 'accurate' });
  });

  it('uses a measured profile once it has enough samples', () => {
    const profile = { handler_type: 3, key: 'model=large', node_id: 1, service_ms: 150, cpu_ms: 120, out_bytes: 500 };
    const plan = (samples: number) => planOf(answer(asking({}), faceNodes, { profiles: [{ ...profile, samples }] }));
    expect(plan(PROFILE_SAMPLES_MIN - 1)).toEqual(planOf(answer(asking({}), faceNodes)));
    const measured = plan(PROFILE_SAMPLES_MIN);
    expect(where(measured)).toContain('detect=large @cloud-1');
    expect(
      measured.handlers[1]!.candidates.find((one) => one.node_id === 1 && one.alternative === 'large'),
    ).toMatchObject({
      ...{ compute_ms: 150, profile: 'measured' },
    });
  });

  it('spreads sessions over equal nodes', () => {
    const nodes = [node(0, 'client-1', { handler_types: [2] }), node(1, 'edge-1'), node(2, 'edge-2')];
    const asked = request([variant([capture, handler(1, 'detect')])]);
    const first = planOf(answer(asked, nodes)).handlers[1]!.node_id;
    const previous = [0, first].map((node_id, handler_id) => ({ handler_id, node_id, alternative: 'default' }));
    const sessions = [{ session_id: 1, service: 'faces', objective: { fps: 40 }, source_node: 0, weight: 1, previous }];
    expect(planOf(answer(asked, nodes, { sessions })).handlers[1]!.node_id).toBe(3 - first);
  });

  it('stays where it ran', () => {
    const previous = [0, 2, 0].map((node_id, handler_id) => ({
      ...{ handler_id, node_id, alternative: handler_id === 1 ? 'large' : 'default' },
    }));
    const plan = planOf(answer(asking({}, { previous }), faceNodes));
    expect(where(plan)).toContain('detect=large @cloud-1');
    expect(plan.reasons).toContainEqual(
      expect.stringMatching(/^detect @cloud-1: stays, edge-1 would save \d+\.\d ms$/),
    );
  });

  it('places beside what is there: a shared model is charged once', () => {
    const share = (model_mb: number) =>
      request([variant([handler(1, 'detect', { ...costs({ cpu_ms: 1, mem_mb: 100, model_mb }), share: true })])]);
    const held = (count: number) =>
      Array.from({ length: count }, (_, session_id) => ({
        ...{ session_id, service: 'faces', objective: { fps: 10 }, source_node: 0, weight: 1 },
        previous: [{ handler_id: 1, node_id: 0, alternative: 'default' }],
      }));
    const nodes = [node(0, 'edge', { mem_mb: 650 })];
    const plan = planOf(answer(share(300), nodes, { sessions: held(2) }));
    expect(plan.handlers[0]).toMatchObject({ share: true, mem_mb: 100, model_mb: 300 });
    expect(plan.reasons).toContain('detect: its model is loaded on edge already, which saves 300 MiB');
    expect(planOf(answer(share(300), nodes)).reasons).toContain(
      'detect: its model is loaded on edge, 300 MiB once for all sessions that share it',
    );
    expect(refusalOf(answer(share(300), nodes, { sessions: held(3) })).reasons[0]).toContain(
      'memory of edge: 100 MiB needed > 50 MiB free of 650 MiB',
    );
  });
});

describe('refusal', () => {
  it('says what binds and proposes an objective that is admitted', () => {
    const asked = asking({ latency_ms_max: 20, accuracy_min: 0.95 });
    const { reasons, nearest } = refusalOf(answer(asked, faceNodes));
    expect(reasons[0]).toMatch(
      /^latency \d+\.\d ms at least with accuracy 0\.95 or more \(variant large\) > 20\.0 ms allowed$/,
    );
    expect(reasons.some((one) => one.startsWith('would be admitted with '))).toBe(true);
    expect(answer({ ...asked, objective: nearest! }, faceNodes).admitted).toBe(true);
  });

  it('says how accurate it can be at best', () => {
    const { reasons, nearest } = refusalOf(answer(asking({ accuracy_min: 0.99 }), faceNodes));
    expect(reasons[0]).toBe('accuracy 0.97 at most with any variant that can run here < 0.99 wanted');
    expect(nearest).toEqual({ fps: 5, accuracy_min: 0.97 });
  });

  it('lowers the frame rate when nothing else would help', () => {
    const asked = asking({ fps: 200 });
    const { nearest } = refusalOf(answer(asked, faceNodes));
    expect(nearest!.fps).toBeLessThan(200);
    expect(answer({ ...asked, objective: nearest! }, faceNodes).admitted).toBe(true);
    expect(answer({ ...asked, objective: { fps: nearest!.fps + 0.1 } }, faceNodes).admitted).toBe(false);
  });
});

describe('a static template', () => {
  const asked = request([
    variant([
      handler(0, 'capture', { at: { kind: 'node', node_id: 0 } }),
      handler(1, 'detect', { at: { kind: 'node', node_id: 1 }, ...costs({ cpu_ms: 300, mem_mb: 9000 }) }),
    ]),
  ]);
  const template = { ...asked, service: { ...asked.service, template: [] } };
  const placement = [0, 1].map((id) => ({ handler_id: id, node_id: id, alternative: 'default' }));
  const planned = { session_id: 1000, variant: 'default', accuracy: 1, latency_ms: 0, placement };

  it('stands as it is, and what is over-committed is said', () => {
    const one = world(template, [node(0, 'client-1'), node(1, 'edge-1')]);
    expect(one.stand(planned)).toEqual([]);
    const own = { ...template.service, template: [{ node_id: 1, handler_ids: [1] }] };
    const { reasons } = sessionPlan(one, { ...template, service: own });
    expect(reasons).toContain('warning: memory of edge-1: 9000 MiB needed > 8000 MiB in all');
    expect(reasons.some((words) => words.startsWith('warning: one core: 3000 ms/s needed by detect'))).toBe(true);
  });

  it('cannot stand on a node that is lost', () => {
    const one = world(template, [node(0, 'client-1'), node(1, 'edge-1', { up: false })]);
    expect(one.stand(planned)).toEqual(['detect @edge-1: lost']);
  });
});

describe('beside the others', () => {
  /** Two of three sessions placed, the third to be placed. */
  const partly = (drawn: Parameters<typeof tinySnapshot>[0], paths: boolean): FleetSnapshot => {
    const snapshot = paths ? withPaths(tinySnapshot(drawn)) : tinySnapshot(drawn);
    const first = { ...snapshot, sessions: snapshot.sessions.slice(0, 2) };
    const settled = running(first, allocateFleet(first, ORCHESTRATOR, { iterations: 50 }));
    return { ...snapshot, sessions: [...settled.sessions, snapshot.sessions[2]!] };
  };

  it('finds a place when there is one, as accurate as any, and moves nobody', () => {
    const seen = { admitted: 0, refused: 0 };
    fc.assert(
      fc.property(tiny, fc.boolean(), (drawn, paths) => {
        const snapshot = partly(drawn, paths);
        const one = new OneSession(snapshot, 2);
        const others = one.state.utility;
        const best = bestBeside(snapshot);
        expect(one.place(ORCHESTRATOR)).toBe(best > 0);
        seen[best > 0 ? 'admitted' : 'refused'] += 1;
        if (best > 0) expect(one.placed!.accuracy).toBeCloseTo(best, 6);
        expect(one.state.utility - (one.placed?.utility ?? 0)).toBeCloseTo(others, 6);
        expect(new OneSession(snapshot, 2).place(ORCHESTRATOR) && one.planned()).toEqual(best > 0 && one.planned());
      }),
      { numRuns: 120, seed: 5 },
    );
    expect(Math.min(seen.admitted, seen.refused)).toBeGreaterThan(5);
  });
});

/** The highest accuracy of the last session beside the placed ones by trying everything; 0 = it has no place. */
function bestBeside(snapshot: FleetSnapshot): number {
  const pinned = snapshot.sessions.map((one): FleetSnapshot['sessions'][number] => {
    const { previous: _, ...rest } = one;
    return one.previous === undefined ? rest : { ...rest, service: `held ${one.session_id}` };
  });
  const held = snapshot.sessions.flatMap((one) => {
    if (one.previous === undefined) return [];
    const [first] = snapshot.services[0]!.variants;
    const handlers = first!.handlers.map((each) => {
      const place = one.previous!.find(({ handler_id }) => handler_id === each.handler_id)!;
      const alternatives = each.alternatives.filter(({ name }) => name === place.alternative);
      return { ...each, at: { kind: 'node' as const, node_id: place.node_id }, alternatives };
    });
    return [{ service_name: `held ${one.session_id}`, variants: [{ ...first!, handlers }] }];
  });
  const placed = pinned.filter(({ service }) => service.startsWith('held'));
  const fleetOf = (sessions: FleetSnapshot['sessions']) =>
    new OneSession({ ...snapshot, services: [...snapshot.services, ...held], sessions }, 2).fleet;
  const all = bestUtility(fleetOf([...placed, pinned.at(-1)!]));
  const without = placed.reduce((sum, { session_id }) => {
    const accuracy = held
      .find(({ service_name }) => service_name === `held ${session_id}`)!
      .variants[0]!.handlers.reduce((product, { alternatives }) => product * alternatives[0]!.accuracy, 1);
    return sum + ADMITTED_UTILITY + accuracy;
  }, 0);
  return all > without + 1e-6 ? all - without - ADMITTED_UTILITY : 0;
}
