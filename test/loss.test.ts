/**
 * Real processes, killed: `loss` sums to what the source emitted at any time, under both deliveries; `trace` has the way
 * of packets across machines. What the source emitted is read from the events of its packets, not from the ledger.
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { afterEach, expect, test } from 'vitest';
import type { Loss } from '../src/contracts/loss.js';
import type { Delivery } from '../src/contracts/packet.js';
import { awaitRunning, awaitSession } from '../src/main/session-wait.js';
import { eventually, handlersOf, startSystem, type TestSystem } from './support/system.js';

const NODES = [
  { node_id: 0, node_name: 'client', node_type: 'client' },
  { node_id: 1, node_name: 'edge', node_type: 'edge', labels: ['work'] },
  { node_id: 2, node_name: 'cloud', node_type: 'cloud', labels: ['work'] },
] as const;

/** capture, encode at the source; decode, resize on a node with the label; the sink at the source or with them. */
function service(service_id: number, service_name: string, sinkAt: string): object {
  const types = ['capture', 'encode', 'decode', 'resize', 'render'];
  const places = ['source', 'source', 'work', 'work', sinkAt];
  const params: Record<string, object> = {
    capture: { fps: 5, source: '.', loop: true, width: 160 },
    render: { boxes: false, write_frames: false },
  };
  return {
    ...{ service_id, service_name },
    handlers: types.map((type, index) => ({
      ...{ handler_id: index + 1, handler_name: type, handler_type: type, at: places[index] },
      ...{ params: params[type] ?? {}, cost: { cpu_ms: 1, mem_mb: 20 } },
    })),
    links: types.slice(1).map((_, index) => ({ source_handler: index + 1, target_handler: index + 2 })),
  };
}

let system: TestSystem;

afterEach(async () => {
  await system?.close();
});

function expectSum({ sinks }: Loss): void {
  expect(sinks).toHaveLength(1);
  for (const { sent, delivered, skipped, drops, in_flight } of sinks) {
    expect(drops.reduce((sum, { packets }) => sum + packets, delivered + skipped + in_flight)).toBe(sent);
  }
}

const decided = ({ sinks }: Loss) => sinks[0]!.sent - sinks[0]!.in_flight;

test.each<Delivery>(['latest', 'all'])(
  '%s: hosts and a node are killed, and every sequence is accounted for',
  async (delivery) => {
    system = await startSystem({
      nodes: NODES,
      services: [service(1, 'near', 'source'), service(2, 'away', 'work')],
    });
    const { coordinator, collector, nodes } = system;
    const source = system.pictures(`loss-${delivery}`, 3);
    const ids: number[] = [];
    for (const name of ['near', 'away']) {
      const { session_id } = await coordinator.createSession({ service: name, source, delivery, source_node: 0 });
      ids.push(session_id!);
      await awaitRunning(coordinator, session_id!);
    }
    const emitted = async (id: number) => {
      const ofSource = `session_id = ${id} and handler_id = 1 and event = 'start'`;
      const { rows } = await collector!.sql(`select max(sequence) + 1 from packet_info where ${ofSource}`);
      return rows[0]![0];
    };
    const progress = async (what: string) => {
      for (const id of ids) {
        const before = decided(await coordinator.loss(id));
        await eventually(`${what}: session ${id} beyond ${before}`, async () => {
          const loss = await coordinator.loss(id);
          expectSum(loss);
          return decided(loss) > before + 3 ? true : undefined;
        });
      }
    };
    await progress('at first');

    for (const id of ids) {
      const pids = new Set(handlersOf(await coordinator.session(id)).map((handler) => handler.pid!));
      expect(pids.size).toBeGreaterThanOrEqual(2);
      // The source's among them under one delivery, the sink's under the other.
      const killed = delivery === 'all' ? [...pids].slice(0, 1) : [...pids].slice(-1);
      for (const pid of killed) {
        process.kill(pid, 'SIGKILL');
        await progress(`after the kill of a host of session ${id}`);
      }
    }

    const victim = (await coordinator.session(ids[1]!)).plan.handlers.at(-1)!.node_id;
    nodes.find(({ node }) => node.node_id === victim)!.daemon.kill();
    await eventually('both sessions moved', async () => {
      const plans = await Promise.all(ids.map(async (id) => (await coordinator.session(id)).plan));
      return plans.every((plan) => plan.handlers.every((handler) => handler.node_id !== victim)) ? true : undefined;
    });
    await progress('after the kill of a node');

    for (const id of ids) {
      await coordinator.stopSession(id);
      await awaitSession(coordinator, id, ({ observed }) => observed === 'stopped', { timeoutMs: 60_000 });
      // Events of packets are reported later than the ledger.
      const sink = await eventually(`the last report of session ${id}`, async () => {
        const loss = await coordinator.loss(id);
        expectSum(loss);
        const { in_flight, sent } = loss.sinks[0]!;
        return in_flight === 0 && sent === (await emitted(id)) ? loss.sinks[0]! : undefined;
      });
      expect(sink).toMatchObject({ first_sequence: 0, next_sequence: sink.sent });
      if (delivery === 'all') expect(sink).toMatchObject({ delivered: sink.sent, drops: [] });
      else expect(sink.delivered).toBeGreaterThan(0);
    }

    const args = ['dist/cli/orchestrator.js', '--coordinator', system.coordinatorUrl, 'loss', String(ids[0]), '--json'];
    const { stdout } = await promisify(execFile)(process.execPath, args);
    expect((JSON.parse(stdout) as Loss).sinks).toEqual((await coordinator.loss(ids[0]!)).sinks);

    const trace = await coordinator.trace(ids[0]!, { slowest: 5 });
    expect(trace.packets).toBeGreaterThan(10);
    expect(trace.slowest).toHaveLength(5);
    for (const packet of trace.slowest) {
      expect(packet.steps.filter(({ kind }) => kind === 'compute').map((step) => step.handler_name)).toEqual([
        ...['capture', 'encode', 'decode', 'resize', 'render'],
      ]);
      expect(packet.steps.reduce((sum, { ms }) => sum + ms, 0)).toBeCloseTo(packet.end_to_end_ms, 3);
    }
    expect(trace.links.map((link) => `${link.source_name} ${link.target_name}`)).toEqual([
      ...['capture encode', 'encode decode', 'decode resize', 'resize render'],
    ]);
  },
  240_000,
);
