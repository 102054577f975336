import { describe, expect, it } from 'vitest';
import { checkFleet } from '../allocation/fleet/check-fleet.js';
import { OneSession } from '../allocation/fleet/one-session.js';
import type { SessionPlan } from '../contracts/plan.js';
import { testRegistry } from '../contracts/registry.testing.js';
import type { StoredSession } from '../contracts/session.js';
import { silentLogger } from '../std/logger.js';
import { ClockEstimate } from './clock-estimate.js';
import { FACES, LOCAL } from './cluster.testing.js';
import { FakeNode } from './fake-node.testing.js';
import { fleetNode, fleetSnapshot } from './fleet-snapshot.js';
import { LinkTable } from './link-table.js';
import type { NodeRegistry, RegisteredNode } from './node-registry.js';
import { DEFAULT_COORDINATOR_BOUNDS } from './options.js';
import { ProfileCache } from './profiles.js';
import { recordOf } from './session-record.js';
import { completeRequest } from './session-request.js';

function registered(node_id: number, memFreeMb: number, loaded: number[] = []): RegisteredNode {
  const clock = new ClockEstimate();
  clock.add({ sentAt: 0, receivedAt: node_id / 1000, nodeAt: 0 });
  const fake = new FakeNode({ node_id, node_name: `node-${node_id}`, facts: { mem_free_mb: memFreeMb } });
  const facts = {
    ...{ node_id, node_name: `node-${node_id}`, version: '', hostname: '', cpu_model: '', cpu_cores: 2 },
    ...{ mem_mb: 1000, mem_free_mb: memFreeMb, speed: 1, gpus: [], labels: ['fact'], handler_types: [2] },
  };
  const handlers = loaded.map((handler_id) => ({
    ...{ handler_id, handler_name: 'x', handler_type: 2, state: 'running' as const },
    ...{ pid: null, restarts: 0, links: [] },
  }));
  const session = {
    session_id: 5,
    epoch: 1,
    generation: 1,
    desired: 'running' as const,
    state: 'running' as const,
    handlers,
  };
  return {
    file: { ...fake.file, labels: ['file'], bandwidth_mbit: node_id * 100 },
    url: '',
    client: {} as RegisteredNode['client'],
    status: {
      ...{ state: 'up', missing: false, lastSeen: 1, facts, epoch: 0, why: '', problem: null, clock },
      ...{ cpuUtil: null, clockCorrectionMs: 0 },
      sessions: new Map(loaded.length === 0 ? [] : [[5, session]]),
    },
    drainedSince: null,
  };
}

const plan = (node_id: number, mem_mb: number): SessionPlan =>
  ({
    handlers: [{ handler_id: 1, node_id, cpu_ms_per_s: 100, gpu_ms_per_s: 0, mem_mb }],
    links: [],
  }) as unknown as SessionPlan;

describe('fleetNode', () => {
  const holding = [{ session_id: 5, plan: plan(1, 300) }];
  const memory = (loaded: number[], holds = holding) => fleetNode(registered(1, 500, loaded), holds, 1).mem_mb;

  it('adds back what loaded handlers hold, and nothing for those that still load', () => {
    expect([memory([1]), memory([]), memory([1], [])]).toEqual([800, 500, 500]);
  });

  it('adds a model that sessions share once', () => {
    const shared = { handler_type: 7, params: {}, alternative: 'm', model_mb: 200 };
    const sharing = (session_id: number) => {
      const one = plan(1, 100);
      return { session_id, plan: { ...one, handlers: one.handlers.map((handler) => ({ ...handler, ...shared })) } };
    };
    const node = registered(1, 500, [1]);
    const observed = node.status.sessions.get(5)!;
    const sessions = new Map([5, 6].map((id) => [id, { ...observed, session_id: id }]));
    const both = { ...node, status: { ...node.status, sessions } };
    expect(fleetNode(both, [sharing(5), sharing(6)], 1).mem_mb).toBe(500 + 2 * 100 + 200);
  });

  it('hangs on the core by half its round trip, and is as slow as it is now', () => {
    const { labels, access, speed } = fleetNode(registered(3, 1), [], 2);
    expect([labels, access.latency_ms, access.up_mbit, speed]).toEqual([['file', 'fact'], 1.5, 300, 0.5]);
  });
});

describe('fleetSnapshot', () => {
  it('counts what a session takes whose service is not loaded any more, where its plan has it', () => {
    const taken = { handler_id: 1, handler_name: 'detect', handler_type: 2, node_id: 1, alternative: 'm', params: {} };
    const plan = {
      ...{ service_name: 'gone', variant: 'v', accuracy: 0.9, fps: 5, source_node: 1, links: [] },
      handlers: [{ ...taken, cpu_ms_per_s: 200, gpu_ms_per_s: 0, mem_mb: 70 }],
    } as unknown as SessionPlan;
    const stored = { session_id: 4, plan, request: {} } as unknown as StoredSession;
    const fleet = fleetSnapshot({
      ...{ nodes: [registered(1, 500)], services: [], records: [recordOf(stored, null)], profiles: [] },
      links: new LinkTable({ clock: { now: () => 0, monotonicMs: () => 0 }, probeFreshS: () => 600 }),
      ...{ slownessOf: () => 1, requestOf: () => null },
    });
    const one = new OneSession(checkFleet(fleet, 'live'), 4);
    const placement = fleet.sessions[0]!.previous!;
    expect(placement).toEqual([{ handler_id: 1, node_id: 1, alternative: 'm' }]);
    expect(one.put({ session_id: 4, variant: 'v', accuracy: 0.9, latency_ms: 0, placement })).toBeNull();
    expect([one.state.used[0], one.state.used[one.fleet.memAt]]).toEqual([200, 70]);
  });
});

describe('ProfileCache', () => {
  it('reads before the first plan, and keeps what it has when the database fails', async () => {
    let fails = false;
    const profile = { handler_type: 7, key: '', node_id: 1, samples: 50, service_ms: 9, cpu_ms: 8, out_bytes: 10 };
    let asked = 0;
    const cache = new ProfileCache({
      telemetry: {
        async profiles(since) {
          asked += 1;
          expect(since).toBe(1000 - DEFAULT_COORDINATOR_BOUNDS.profileWindowS);
          if (fails) throw new Error('gone');
          return [profile];
        },
      },
      bounds: { ...DEFAULT_COORDINATOR_BOUNDS, profilePeriodMs: 1 },
      clock: { now: () => 1000, monotonicMs: () => 0 },
      logger: silentLogger,
    });
    await cache.start();
    expect(cache.current).toEqual([profile]);
    fails = true;
    const before = asked;
    while (asked < before + 2) await new Promise((resolve) => setImmediate(resolve));
    expect(cache.current).toEqual([profile]);
    cache.close();
  });
});

describe('completeRequest', () => {
  const nodes = [registered(0, 1), registered(4, 1)].map((one, at) => ({
    ...one,
    file: { ...one.file, node_type: at === 1 ? ('client' as const) : ('edge' as const) },
  }));
  const registry = {
    all: () => nodes,
    find: (ref: number | string) => nodes.find(({ file }) => file.node_id === ref || file.node_name === ref)!,
  } as unknown as NodeRegistry;
  const options = { services: [FACES, LOCAL], types: testRegistry(), registry };
  const base = { start: true, dry_run: false };

  it('fills in source node, objective and delivery', () => {
    const { request } = completeRequest({ ...base, service: 'faces' }, options);
    expect(request).toMatchObject({ source_node: 4, objective: { fps: 10 }, delivery: 'latest' });
    expect(completeRequest({ ...base, service: 1, source_node: 'node-0' }, options).request.source_node).toBe(0);
    expect(completeRequest({ ...base, service: 2 }, options).request.source_node).toBe(0);
  });

  it('puts parameters into every alternative of the handler, and leaves the service as it was', () => {
    const { plan: asked } = completeRequest(
      { ...base, service: 'faces', source: 'a.jpg', params: { detect: { tresh: 0.4 } } },
      options,
    );
    const detect = asked.service.variants[0]!.handlers[1]!;
    expect(detect.alternatives.map((one) => [one.params.model, one.params.thresh])).toEqual([
      ['large', 0.4],
      ['small', 0.4],
    ]);
    expect(asked.service.variants[0]!.handlers[0]!.alternatives[0]!.params).toEqual({ source: 'a.jpg' });
    expect(FACES.variants[0]!.handlers[1]!.alternatives[0]!.params.thresh).toBe(0.5);
  });

  it('says what is missing when there is no client node', () => {
    const edges = { ...registry, all: () => nodes.slice(0, 1) } as unknown as NodeRegistry;
    expect(() => completeRequest({ ...base, service: 'faces' }, { ...options, registry: edges })).toThrow(
      /source_node is needed/,
    );
  });
});
