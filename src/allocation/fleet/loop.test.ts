import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { FleetNode, FleetPlanned, FleetSession, FleetSnapshot } from '../../contracts/fleet.js';
import { ORCHESTRATOR } from './allocator.js';
import { BASELINES } from './baselines.js';
import { instanceOf } from './instances.js';
import { decide, type LoopAction } from './loop.js';
import {
  budgetOf,
  DEFAULT_LOOP_RULES,
  type LoopEvent,
  type LoopRules,
  type LoopState,
  NO_LOOP_STATE,
} from './loop-rules.js';
import { verifyFleet } from './verify-fleet.js';

const EMPTY_PLAN = { algorithm: 'orchestrator', sessions: [], refused: [], moved: 0, utility: 0 };

/** The snapshot after the actions: what was placed runs, what was refused waits. */
const applied = (snapshot: FleetSnapshot, actions: readonly LoopAction[]): FleetSnapshot => {
  const byId = new Map(actions.map((one) => [one.session_id, one]));
  const sessions = snapshot.sessions.map((session): FleetSession => {
    const action = byId.get(session.session_id);
    if (action === undefined || action.kind === 'stay') return session;
    const { previous: _, previous_variant: __, ...rest } = session;
    if (action.kind === 'refuse') return rest;
    return { ...rest, previous: action.planned.placement, previous_variant: action.planned.variant };
  });
  return { ...snapshot, sessions };
};

/** A fleet under the loop: each call is one moment. */
class Rig {
  state: LoopState = NO_LOOP_STATE;
  held: ReadonlySet<number> = new Set();

  constructor(
    public snapshot: FleetSnapshot,
    private readonly rules: LoopRules = DEFAULT_LOOP_RULES,
    private readonly allocator = ORCHESTRATOR,
  ) {}

  at(atS: number, ...events: LoopEvent[]): readonly LoopAction[] {
    const { snapshot, state, rules, allocator, held } = this;
    const { actions, state: next } = decide({ snapshot, events, atS, state, allocator, rules, held });
    this.state = next;
    this.snapshot = applied(snapshot, actions);
    return actions;
  }

  nodes(change: (node: FleetNode) => FleetNode): void {
    this.snapshot = { ...this.snapshot, nodes: this.snapshot.nodes.map(change) };
  }

  get running(): FleetSession[] {
    return this.snapshot.sessions.filter((one) => one.previous !== undefined);
  }
}

const alternative = (name: string, accuracy: number, cpu_ms: number) => ({
  ...{ name, params: { model: name }, accuracy },
  cost: { cpu_ms, gpu_ms: 0, mem_mb: 10, out_bytes: 1000 },
});

const segment = { latency_ms: 1, up_mbit: 100, down_mbit: 100 };

const node = (node_id: number, cpu_cores: number, given: Partial<FleetNode> = {}): FleetNode => ({
  ...{ node_id, node_name: `node-${node_id}`, up: true, drained: false, labels: [], site: null, speed: 1, cpu_cores },
  ...{ mem_mb: 4000, gpus: 0, handler_types: null, access: segment },
  ...given,
});

/** A camera and two nodes for detection, in a large variant (0.95, 50 ms) and a small one (0.8, 10 ms). */
const small = (sessions: number, accuracy_min = 0.7): FleetSnapshot => ({
  nodes: [node(0, 4), node(1, 1, { labels: ['edge'] }), node(2, 1, { labels: ['edge'] })],
  sites: [],
  services: [
    {
      service_name: 'faces',
      variants: [
        {
          ...{ variant_name: 'default', accuracy: 1 },
          handlers: [
            {
              ...{ handler_id: 1, handler_name: 'capture', handler_type: 2, at: { kind: 'source' }, require: {} },
              alternatives: [alternative('default', 1, 1)],
            },
            {
              ...{ handler_id: 2, handler_name: 'detect', handler_type: 7, at: { kind: 'label', label: 'edge' } },
              ...{ require: {}, alternatives: [alternative('large', 0.95, 50), alternative('small', 0.8, 10)] },
            },
          ],
          links: [{ source_handler: 1, target_handler: 2 }],
        },
      ],
    },
  ],
  profiles: [],
  sessions: Array.from({ length: sessions }, (_, session_id) => ({
    ...{ session_id, service: 'faces', source_node: 0, weight: 1 },
    objective: { fps: 12, latency_ms_max: 2000, accuracy_min },
  })),
});

const models = ({ running }: Rig) => running.map((one) => one.previous![1]!.alternative).sort();
const arrivals = (count: number): LoopEvent[] =>
  Array.from({ length: count }, (_, session_id) => ({ kind: 'arrival', session_id }));

describe('the planning loop', () => {
  test('no event, no move: for an hour, on any fleet', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 500 }), fc.double({ min: 0.5, max: 3, noNaN: true }), (seed, load) => {
        const rig = new Rig(instanceOf({ nodes: 12, sessions: 15, seed, load }));
        rig.at(0, ...arrivals(15));
        // What the arrivals leave to improve is improved first.
        for (let atS = 60; atS <= 600; atS += 60) rig.at(atS);
        for (let atS = 660; atS <= 4200; atS += 60) expect(rig.at(atS)).toEqual([]);
      }),
      { numRuns: 4, seed: 3 },
    );
  });

  test('same state, same seed, same actions; every one certified', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 500 }), fc.nat({ max: 11 }), (seed, lost) => {
        const run = () => {
          const rig = new Rig(instanceOf({ nodes: 12, sessions: 25, seed, load: 2 }));
          const first = rig.at(0, ...arrivals(25));
          rig.nodes((one) => (one.node_id === lost ? { ...one, up: false } : one));
          const second = rig.at(20, { kind: 'node_lost', node_id: lost });
          return [first, second, rig.at(120)];
        };
        expect(run()).toEqual(run());
      }),
      { numRuns: 4, seed: 5 },
    );
  });

  test('a lost node moves its victims; the others only to make room, within the budget', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 500 }), fc.nat({ max: 15 }), (seed, lost) => {
        const rules = { ...DEFAULT_LOOP_RULES, movesMax: 4, urgentMoves: 1 };
        const rig = new Rig(instanceOf({ nodes: 16, sessions: 24, seed, load: 2 }), rules);
        rig.at(0, ...arrivals(24));
        rig.at(200, { kind: 'link_changed' });
        const victims = new Set(
          rig.running.filter((one) => one.previous!.some((p) => p.node_id === lost)).map((one) => one.session_id),
        );
        const waiting = new Set(
          rig.snapshot.sessions.filter((one) => one.previous === undefined).map((one) => one.session_id),
        );
        rig.nodes((one) => (one.node_id === lost ? { ...one, up: false } : one));
        const actions = rig.at(300, { kind: 'node_lost', node_id: lost });
        let innocent = 0;
        for (const action of actions) {
          if (action.kind !== 'place' || victims.has(action.session_id) || waiting.has(action.session_id)) continue;
          expect(action.why).toBe('made_room');
          innocent += action.moved;
        }
        expect(innocent).toBeLessThanOrEqual(4);
        // Who has lost the source waits where it is.
        const there = rig.running.filter((one) => one.source_node !== lost);
        for (const one of there) expect(one.previous!.map((p) => p.node_id)).not.toContain(lost);
      }),
      { numRuns: 6, seed: 9 },
    );
  });

  test('who runs is never left without a place for others, and together they take no more than there is', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 500 }), (seed) => {
        const { sessions, ...fleet } = instanceOf({ nodes: 16, sessions: 40, seed, load: 3.5 });
        const rig = new Rig({ ...fleet, sessions: [] });
        const plans = new Map<number, FleetPlanned>();
        for (let atS = 0; atS < 40; atS++) {
          const session = sessions[atS]!;
          const before = rig.running.map(({ session_id }) => session_id);
          rig.snapshot = { ...rig.snapshot, sessions: [...rig.snapshot.sessions, session] };
          const actions = rig.at(atS * 3, { kind: 'arrival', session_id: session.session_id });
          for (const one of actions) if (one.kind === 'place') plans.set(one.session_id, one.planned);
          const now = new Set(rig.running.map(({ session_id }) => session_id));
          expect(before.filter((id) => !now.has(id))).toEqual([]);
          const told = { ...rig.snapshot, sessions: rig.running };
          const placed = [...now].map((id) => plans.get(id)!);
          expect(verifyFleet({ ...EMPTY_PLAN, sessions: placed }, told)).toEqual([]);
        }
      }),
      { numRuns: 4, seed: 17 },
    );
  });

  test('falls to cheaper variants before anybody is refused, never below the floor, and rises in calm', () => {
    const rig = new Rig(small(2));
    rig.at(0, ...arrivals(2));
    expect(models(rig)).toEqual(['large', 'large']);
    rig.nodes((one) => (one.node_id === 2 ? { ...one, up: false } : one));
    const fallen = rig.at(100, { kind: 'node_lost', node_id: 2 });
    expect(fallen.every((one) => one.kind === 'place')).toBe(true);
    expect(rig.running.length).toBe(2);
    expect(models(rig)).toContain('small');
    rig.nodes((one) => ({ ...one, up: true }));
    expect(rig.at(105, { kind: 'node_joined', node_id: 2 })).toEqual([]);
    expect(rig.at(109)).toEqual([]);
    const risen = rig.at(140);
    expect(new Set(risen.map((one) => one.kind === 'place' && one.why))).toEqual(new Set(['improved']));
    expect(models(rig)).toEqual(['large', 'large']);

    const strict = new Rig(small(2, 0.9));
    strict.at(0, ...arrivals(2));
    strict.nodes((one) => (one.node_id === 2 ? { ...one, up: false } : one));
    const refused = strict.at(100, { kind: 'node_lost', node_id: 2 });
    expect(refused.map((one) => one.kind)).toEqual(['refuse']);
    expect(refused[0]!.kind === 'refuse' && refused[0]!.reason).toMatch(
      /^cpu of node-1: \d+ ms\/s needed.* > \d+ ms\/s free of \d+ ms\/s$/,
    );
  });

  test('leaves a drained node at once, makes room for that, and stays where there is none', () => {
    const rig = new Rig(small(2));
    rig.at(0, ...arrivals(2));
    rig.nodes((one) => (one.node_id === 2 ? { ...one, drained: true } : one));
    const left = rig.at(5, { kind: 'node_drained', node_id: 2 });
    expect(left.map((one) => one.kind === 'place' && one.why).sort()).toContain('left');
    expect(rig.running.flatMap((one) => one.previous!.map((place) => place.node_id)).sort()).toEqual([0, 0, 1, 1]);
    expect(models(rig)).toContain('small');
    expect(rig.at(10, { kind: 'node_drained', node_id: 2 })).toEqual([]);

    const strict = new Rig(small(2, 0.9));
    strict.at(0, ...arrivals(2));
    const before = strict.running;
    strict.nodes((one) => (one.node_id === 2 ? { ...one, drained: true } : one));
    const stays = strict.at(5, { kind: 'node_drained', node_id: 2 });
    expect(stays.map((one) => one.kind)).toEqual(['stay']);
    expect(stays[0]!.kind === 'stay' && stays[0]!.reason).toMatch(
      /^cpu of node-1: \d+ ms\/s needed.* > \d+ ms\/s free of \d+ ms\/s$/,
    );
    expect(strict.running).toEqual(before);
  });

  test('who was held when its node was lost is placed again as soon as it is not, without another event', () => {
    const rig = new Rig(small(1));
    rig.at(0, ...arrivals(1));
    const lost = rig.running[0]!.previous![1]!.node_id;
    rig.nodes((one) => (one.node_id === lost ? { ...one, up: false } : one));
    rig.held = new Set([0]);
    expect(rig.at(10, { kind: 'node_lost', node_id: lost })).toEqual([]);
    expect(rig.at(11)).toEqual([]);
    rig.held = new Set();
    expect(rig.at(12).map((one) => one.kind === 'place' && one.why)).toEqual(['repaired']);
    expect(rig.state.isOwing).toBe(false);
  });

  test('what is pinned to a drained node stays there, and nothing new comes', () => {
    for (const allocator of [ORCHESTRATOR, ...BASELINES]) {
      const rig = new Rig(small(2), DEFAULT_LOOP_RULES, allocator);
      rig.at(0, ...arrivals(1));
      const before = rig.running;
      rig.nodes((one) => (one.node_id === 0 ? { ...one, drained: true } : one));
      const actions = rig.at(40, { kind: 'node_drained', node_id: 0 }, { kind: 'arrival', session_id: 1 });
      expect(rig.running.slice(0, 1)).toEqual(before.slice(0, 1));
      expect(actions.filter((one) => one.session_id === before[0]!.session_id)).toEqual([]);
    }
    const empty = new Rig(small(1));
    empty.nodes((one) => (one.node_id === 0 ? { ...one, drained: true } : one));
    expect(empty.at(0, ...arrivals(1))).toEqual([
      { kind: 'refuse', session_id: 0, reason: 'a node that it is pinned to is drained' },
    ]);
  });

  test('an improvement that would move more than the budget is made in parts', () => {
    const base = instanceOf({ nodes: 12, sessions: 20, seed: 3, load: 2 });
    const rules = { ...DEFAULT_LOOP_RULES, movesMax: 4, urgentMoves: 1 };
    const rig = new Rig(base, rules);
    const isCloud = (node: FleetNode) => node.labels.includes('cloud');
    rig.nodes((node) => (isCloud(node) ? { ...node, up: false } : node));
    rig.at(0, ...arrivals(20));
    rig.nodes((node) => ({ ...node, up: true }));
    const { node_id } = base.nodes.find(isCloud)!;
    let parts = 0;
    for (let atS = 100; atS <= 1000; atS += 60) {
      const actions = rig.at(atS, ...(atS === 100 ? [{ kind: 'node_joined' as const, node_id }] : []));
      const moved = actions.filter((one) => one.kind === 'place' && one.why === 'improved');
      expect(moved.reduce((sum, one) => sum + (one.kind === 'place' ? one.moved : 0), 0)).toBeLessThanOrEqual(4);
      if (moved.length > 0) parts += 1;
    }
    expect(parts).toBeGreaterThan(1);
  });

  test('who comes alone gets what is free at once; of many at once each leaves room for the others', () => {
    const accuracy = (intervalS: number) => {
      const rig = new Rig({ ...instanceOf({ nodes: 12, sessions: 15, seed: 6, load: 1 }), sessions: [] });
      const sum = { accuracy: 0, count: 0 };
      for (const session of instanceOf({ nodes: 12, sessions: 15, seed: 6, load: 1 }).sessions) {
        rig.snapshot = { ...rig.snapshot, sessions: [...rig.snapshot.sessions, session] };
        const { session_id } = session;
        for (const action of rig.at(session_id * intervalS, { kind: 'arrival', session_id })) {
          if (action.kind !== 'place' || action.session_id !== session_id) continue;
          sum.accuracy += action.planned.accuracy;
          sum.count += 1;
        }
      }
      expect(sum.count).toBe(15);
      return sum.accuracy / sum.count;
    };
    expect(accuracy(70)).toBeGreaterThan(accuracy(0.1) + 0.03);
  });

  test('the budget of moves grows with the fleet, and none is none', () => {
    const budget = (running: number, movesMax = 12) => budgetOf({ ...DEFAULT_LOOP_RULES, movesMax }, running, false);
    expect([budget(0), budget(240), budget(720), budget(720, 0)]).toEqual([12, 12, 36, 0]);
    expect(budgetOf(DEFAULT_LOOP_RULES, 240, true)).toBe(48);
  });

  test('knows which of several variants runs, and changes to another', () => {
    const base = small(2);
    const [variant] = base.services[0]!.variants;
    const only = (variant_name: string, accuracy: number, pick: number) => ({
      ...{ variant_name, accuracy, links: variant!.links },
      handlers: variant!.handlers.map((one) => ({
        ...one,
        alternatives: [{ ...one.alternatives.at(pick)!, name: 'default', accuracy: 1 }],
      })),
    });
    const services = [{ service_name: 'faces', variants: [only('large', 0.95, 0), only('small', 0.8, -1)] }];
    const rig = new Rig({ ...base, services });
    const variants = () => rig.running.map((one) => one.previous_variant).sort();
    rig.at(0, ...arrivals(2));
    expect(variants()).toEqual(['large', 'large']);
    rig.nodes((one) => (one.node_id === 2 ? { ...one, up: false } : one));
    rig.at(100, { kind: 'node_lost', node_id: 2 });
    expect(variants()).toEqual(['large', 'small']);
    rig.nodes((one) => ({ ...one, up: true }));
    rig.at(105, { kind: 'node_joined', node_id: 2 });
    rig.at(140);
    expect(variants()).toEqual(['large', 'large']);
  });

  test('a session that is measured late goes where less is predicted', () => {
    const rig = new Rig(small(1));
    rig.at(0, ...arrivals(1));
    const late = (frames: number): LoopEvent => ({
      ...{ kind: 'latency_missed', session_id: 0, measured_ms: 390, frames, late: frames },
    });
    const before = rig.running[0]!.previous;
    rig.snapshot = {
      ...rig.snapshot,
      sessions: rig.snapshot.sessions.map((one) => ({ ...one, objective: { ...one.objective, latency_ms_max: 200 } })),
    };
    expect(rig.at(100, late(0))).toEqual([]);
    for (const atS of [101, 102]) expect(rig.at(atS, late(12 * (atS - 100)))).toEqual([]);
    const moved = rig.at(103, late(36));
    expect(moved.map((one) => one.kind === 'place' && one.why)).toEqual(['relieved']);
    expect(rig.running[0]!.previous).not.toEqual(before);
  });

  test('noise of a tenth in every profile moves nobody', () => {
    const base = instanceOf({ nodes: 12, sessions: 20, seed: 4, load: 2 });
    const rig = new Rig(base);
    rig.at(0, ...arrivals(20));
    for (let atS = 60; atS <= 840; atS += 60) rig.at(atS);
    const quiet = rig.snapshot;
    for (const [round, factor] of [0.9, 1.1, 0.95, 1.1].entries()) {
      rig.nodes((one) => ({
        ...one,
        speed: quiet.nodes.find(({ node_id }) => node_id === one.node_id)!.speed * factor,
      }));
      // Far enough apart for an improvement each, if there were anything new to improve.
      const actions = rig.at(900 + 60 * round, { kind: 'profile_drift' });
      expect(actions.filter((one) => one.kind === 'place' && one.why !== 'placed' && one.why !== 'made_room')).toEqual(
        [],
      );
    }
  });

  test('where there is less than was promised, by a little or by half, every decision is still certified', () => {
    let changed = 0;
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 500 }), fc.double({ min: 0.4, max: 0.95, noNaN: true }), (seed, share) => {
        const rig = new Rig(instanceOf({ nodes: 12, sessions: 25, seed, load: 2 }));
        rig.at(0, ...arrivals(25));
        for (let atS = 60; atS <= 300; atS += 60) rig.at(atS);
        const less = ({ latency_ms, up_mbit, down_mbit }: FleetNode['access']) => ({
          ...{ latency_ms, up_mbit: up_mbit * share, down_mbit: down_mbit * share },
        });
        rig.nodes((one) => ({ ...one, speed: one.speed * share, access: less(one.access) }));
        const { sites, sessions } = rig.snapshot;
        const [gone, ...rest] = sessions;
        rig.snapshot = {
          ...rig.snapshot,
          ...{ sites: sites.map((one) => ({ ...one, wan: less(one.wan) })), sessions: rest },
        };
        changed += rig.at(360, { kind: 'departure', session_id: gone!.session_id }).length;
        for (let atS = 420; atS <= 600; atS += 60) changed += rig.at(atS, { kind: 'profile_drift' }).length;
      }),
      { numRuns: 8, seed: 21 },
    );
    expect(changed).toBeGreaterThan(10);
  });

  test('another algorithm gives nobody the room of who cannot leave a drained node', () => {
    for (const allocator of BASELINES) {
      const rig = new Rig(instanceOf({ nodes: 12, sessions: 24, seed: 8, load: 2.5 }), DEFAULT_LOOP_RULES, allocator);
      rig.at(0, ...arrivals(24));
      const servers = rig.snapshot.nodes.filter(({ labels }) => !labels.includes('client'));
      for (const [turn, { node_id }] of servers.entries()) {
        rig.nodes((one) => ({ ...one, drained: one.node_id === node_id }));
        const before = rig.running.length;
        // What does not pass the verifier throws.
        rig.at(100 + 20 * turn, { kind: 'node_drained', node_id }, ...arrivals(24));
        expect(rig.running.length).toBeGreaterThanOrEqual(before);
      }
    }
  });

  test('another algorithm places whoever has no place, and moves nobody else', () => {
    for (const allocator of BASELINES) {
      const rig = new Rig(instanceOf({ nodes: 12, sessions: 12, seed: 2 }), DEFAULT_LOOP_RULES, allocator);
      rig.at(0, ...arrivals(12));
      const before = rig.running;
      const actions = rig.at(100, { kind: 'link_changed' });
      expect(actions.filter((one) => one.kind === 'place' && one.why !== 'placed')).toEqual([]);
      for (const one of before) expect(rig.snapshot.sessions).toContain(one);
    }
  });
});
