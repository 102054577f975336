/** Machines whose clocks differ by minutes: every time that leaves a node is the controller's all the same. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { awaitRunning } from '../src/main/session-wait.js';
import {
  eventually,
  handlersOf,
  NODES,
  sinkSequence,
  spreadFaceService,
  startSystem,
  type TestSystem,
} from './support/system.js';

const SKEW_MS = [0, 180_000, -120_000];

let system: TestSystem;

beforeAll(async () => {
  system = await startSystem({
    services: [spreadFaceService({ service_id: 1, service_name: 'spread' })],
    nodes: NODES.map((node, index) => ({ ...node, clockSkewMs: SKEW_MS[index]! })),
  });
});

afterAll(async () => {
  await system?.close();
});

const nowS = () => Date.now() / 1000;

test('each node corrects what the coordinator sees of its clock', async () => {
  const nodes = await eventually('corrections', async () => {
    const seen = await system.coordinator.nodes();
    return seen.every((node) => node.node_id === 0 || Math.abs(node.clock_correction_ms ?? 0) > 60_000)
      ? seen
      : undefined;
  });
  for (const node of nodes) {
    expect(Math.abs(node.clock_offset_ms! - SKEW_MS[node.node_id]!), node.node_name).toBeLessThanOrEqual(
      node.clock_error_ms!,
    );
    expect(node.clock_error_ms!, node.node_name).toBeGreaterThan(node.rtt_measured_ms! / 2);
  }
});

test('frames with a deadline flow over them, none late, and their times are plausible', async () => {
  const { coordinator } = system;
  const startedAt = nowS();
  const { session_id } = await coordinator.createSession({
    service: 'spread',
    source: system.pictures('some', 12),
    source_node: 0,
    objective: { fps: 4, latency_ms_max: 30_000 },
    params: { capture: { loop: true, fps: 4 } },
  });
  const id = session_id!;
  await awaitRunning(coordinator, id);
  const session = await eventually('frames at the sink', async () => {
    const seen = await coordinator.session(id);
    return sinkSequence(seen) >= 10 ? seen : undefined;
  });
  const wallMs = (nowS() - startedAt) * 1000;
  const sink = handlersOf(session).find((handler) => handler.handler_name === 'render')!.stats!;
  expect(sink.processed).toBeGreaterThan(0);
  for (const cause of Object.keys(sink.drops_seen)) expect(cause).not.toMatch(/^late/);
  const { end_to_end, links } = await coordinator.explain(id);
  expect(end_to_end.measured_ms_p50).toBeGreaterThan(0);
  expect(end_to_end.measured_ms_p95).toBeLessThanOrEqual(wallMs);
  const nodes = await coordinator.nodes();
  const errorMs = Math.max(...nodes.map((node) => node.clock_error_ms!));
  const across = links.filter((link) => link.source_node !== link.target_node);
  expect(across).toHaveLength(3);
  for (const { measured } of across) expect(measured!.latency_ms_p95).toBeLessThanOrEqual(wallMs);
  for (const { links: seen } of handlersOf(session)) {
    // As the node tells it, before anything is cut off: two clocks, each right to within its error.
    for (const link of seen) expect(link.latency_ms_p50 ?? 0).toBeGreaterThanOrEqual(-2 * errorMs);
  }
  const running = await eventually('what running links show in passing', async () => {
    const seen = (await coordinator.links()).filter(({ rtt }) => rtt.from === 'link');
    return seen.length === 3 ? seen : undefined;
  });
  for (const { rtt } of running) expect(rtt.value).toBeLessThanOrEqual(wallMs);

  await coordinator.stopSession(id);
  const rows = await eventually('events of every handler', async () => {
    const statement = `select handler_id, min(timestamp), max(timestamp) from packet_info where session_id = ${id} group by 1`;
    const found = (await system.collector!.sql(statement)).rows as [number, number, number][];
    return found.length === 8 ? found : undefined;
  });
  for (const [handlerId, first, last] of rows) {
    expect(first, `handler ${handlerId}`).toBeGreaterThanOrEqual(startedAt - errorMs / 1000);
    expect(last, `handler ${handlerId}`).toBeLessThanOrEqual(nowS() + errorMs / 1000);
  }
  const linkRows = (await system.collector!.sql('select count(*) from link_info where rtt_ms is not null')).rows;
  expect(linkRows[0]![0]).toBeGreaterThan(0);
  // The newest of each node: what was sampled before the first heartbeat has the time of the machine.
  const newest = 'select timestamp from sys_info where rowid in (select max(rowid) from sys_info group by node_id)';
  const samples = (await system.collector!.sql(newest)).rows as [number][];
  expect(samples).toHaveLength(3);
  for (const [at] of samples) expect(Math.abs(nowS() - at)).toBeLessThan(60);
}, 120_000);
