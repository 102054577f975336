/** Handlers of a running session move between real nodes, one after the other, while frames flow through a fork and a join. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { awaitMoved } from '../src/main/move-wait.js';
import { awaitRunning, awaitSession } from '../src/main/session-wait.js';
import {
  eventually,
  handlersOf,
  isAlive,
  sinkSequence,
  spreadFaceService,
  startSystem,
  type TestSystem,
} from './support/system.js';

/** Faster than a busy machine keeps up with where backpressure holds it, at a rate that it does where nothing holds it. */
const CASES = [
  { delivery: 'latest', service: 'paced', planned_fps: 2 },
  { delivery: 'all', service: 'held', planned_fps: 1 },
] as const;

/** Every model handler may be on any node. */
function freeFaceService(names: { service_id: number; service_name: string; fps: number }): object {
  const { handlers, ...rest } = spreadFaceService(names) as {
    handlers: { at?: unknown }[];
  };
  return { ...rest, handlers: handlers.map(({ at, ...handler }) => (at === 'source' ? { at, ...handler } : handler)) };
}

let system: TestSystem;

beforeAll(async () => {
  system = await startSystem({
    services: [
      freeFaceService({ service_id: 1, service_name: 'paced', fps: 2 }),
      freeFaceService({ service_id: 2, service_name: 'held', fps: 6 }),
    ],
  });
});

afterAll(async () => {
  await system?.close();
});

test.for(CASES)(
  'under $delivery three moves keep the order, and leave nothing behind',
  { timeout: 240_000 },
  async ({ delivery, service, planned_fps }) => {
    const { coordinator } = system;
    // Round and round until all moves are made, however quick the machine is.
    const of = { source: system.pictures(delivery, 6), source_node: 0, params: { capture: { loop: true } } };
    const request = { service, delivery, ...of, objective: { fps: planned_fps } };
    const { session_id } = await coordinator.createSession(request);
    const id = session_id!;
    await awaitRunning(coordinator, id);
    let reached = 3;
    for (const name of ['detect', 'recognize', 'decode']) {
      await eventually(`sequence ${reached} at the sink before ${name} moves`, async () =>
        sinkSequence(await coordinator.session(id)) >= reached ? true : undefined,
      );
      const before = await coordinator.session(id);
      const planned = before.plan.handlers.find((one) => one.handler_name === name)!;
      const node = (planned.node_id + 1) % 3;
      const old = handlersOf(before).find((one) => one.handler_name === name && one.node_id === planned.node_id)!;
      await coordinator.moveHandler(id, { handler: name, node });
      const moved = await awaitMoved(coordinator, id);
      expect(moved.message).toContain(`session ${id}: ${name} ${planned.node_name} -> `);
      const after = await coordinator.session(id);
      expect(after.plan.handlers.find((one) => one.handler_name === name)!.node_id).toBe(node);
      // Also where neighbours stay: they have a new host without this handler.
      await eventually('the old host has ended', () => (isAlive(old.pid!) ? undefined : true));
      reached = sinkSequence(after) + 3;
    }
    await coordinator.stopSession(id);
    await awaitSession(coordinator, id, ({ observed }) => observed === 'stopped', { timeoutMs: 120_000 });
    const lines = system.journal(id);
    expect(lines.length).toBeGreaterThan(reached - 3);
    expect(lines.map((line) => line.sequence)).toEqual(Array.from({ length: lines.length }, (_, index) => index));
    const dropped = lines.filter((line) => line.dropped !== undefined);
    if (delivery === 'all') expect(dropped).toEqual([]);
    const whole = lines.filter((line) => line.dropped === undefined);
    expect(whole.length).toBeGreaterThan(0);
    expect(whole.every((line) => (line.boxes?.length ?? 0) > 0)).toBe(true);
  },
);
