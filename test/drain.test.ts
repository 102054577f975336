/**
 * Nodes are emptied before maintenance, and a changed definition of a service is applied, while frames flow: every sequence
 * comes out once, and the coordinator's death changes nothing of either.
 */
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { awaitDrained } from '../src/main/drain-wait.js';
import { awaitRunning, awaitSession } from '../src/main/session-wait.js';
import { eventually, NODES, sinkSequence, startSystem, type TestSystem } from './support/system.js';

/** capture, encode at the camera; decode, resize on a node that computes; render at the camera. */
const CHAIN = {
  ...{ service_id: 1, service_name: 'chain' },
  handlers: [
    ['capture', 'source', { fps: 5, source: '.', width: 320 }],
    ['encode', 'source', {}],
    ['decode', 'compute', {}],
    ['resize', 'compute', { width: 160, height: 120 }],
    ['render', 'source', { boxes: true, write_frames: false }],
  ].map(([name, at, params], index) => ({
    ...{ handler_id: index + 1, handler_name: name, handler_type: name, at, params },
    cost: { cpu_ms: 1, mem_mb: 50 },
  })),
  links: [1, 2, 3, 4].map((source_handler) => ({ source_handler, target_handler: source_handler + 1 })),
};

let system: TestSystem;

beforeAll(async () => {
  const nodes = NODES.map((node) => (node.node_type === 'client' ? node : { ...node, labels: ['compute'] }));
  system = await startSystem({ services: [CHAIN], nodes });
});

afterAll(async () => {
  await system?.close();
});

const orchestrator = async (...words: string[]): Promise<string> => {
  const args = ['dist/cli/orchestrator.js', '--coordinator', system.coordinatorUrl, ...words];
  return (await promisify(execFile)(process.execPath, args)).stdout;
};

test('a drained node is left without a loss; that and an applied definition stay over a restart', {
  timeout: 240_000,
}, async () => {
  const { coordinator } = system;
  const source = { source: system.pictures('loop', 6), source_node: 0, params: { capture: { loop: true } } };
  const request = { ...{ service: 'chain', delivery: 'all' as const, objective: { fps: 1 } }, ...source };
  const ids: number[] = [];
  for (let made = 0; made < 2; made++) {
    const { session_id } = await coordinator.createSession(request);
    await awaitRunning(coordinator, session_id!);
    ids.push(session_id!);
  }
  const nodeOf = async (id: number) => (await coordinator.session(id)).plan.handlers[3]!.node_id;
  const goesOn = async (id: number) => {
    const reached = sinkSequence(await coordinator.session(id));
    await eventually(`frames of session ${id} beyond ${reached}`, async () =>
      sinkSequence(await coordinator.session(id)) > reached + 3 ? true : undefined,
    );
  };
  for (const id of ids) await goesOn(id);

  const first = await nodeOf(ids[0]!);
  const { node_name } = NODES.find(({ node_id }) => node_id === first)!;
  const there = (await Promise.all(ids.map(nodeOf))).filter((node) => node === first).length;
  expect(await orchestrator('drain', node_name)).toMatch(
    new RegExp(`^${node_name} drained \\| moved ${2 * there} handlers of ${there} sessions?: 0 lost, 0 duplicated\n$`),
  );
  expect(await orchestrator('node', 'list')).toContain('up, drained');
  const second = 3 - first;
  for (const id of ids) {
    expect(await nodeOf(id)).toBe(second);
    await goesOn(id);
  }
  expect((await coordinator.nodes()).find(({ node_id }) => node_id === first)!.sessions).toEqual([]);

  const smaller = CHAIN.handlers.map((one) =>
    one.handler_name === 'resize' ? { ...one, params: { width: 80, height: 60 } } : one,
  );
  const file = join(system.dir, 'chain.json');
  writeFileSync(file, JSON.stringify({ ...CHAIN, handlers: smaller }));
  const applied = await orchestrator('apply', file);
  for (const id of ids) expect(applied).toMatch(new RegExp(`^session ${id} changes: .*resize`, 'm'));
  const widthOf = async (id: number) => (await coordinator.session(id)).plan.handlers[3]!.params.width;
  for (const id of ids) {
    expect(await widthOf(id)).toBe(80);
    await goesOn(id);
  }

  await orchestrator('undrain', node_name);
  await coordinator.drainNode(second);
  const { daemon } = system.controllers.coordinators[0]!;
  daemon.kill();
  await daemon.restart();
  const { drain } = await awaitDrained(coordinator, second);
  expect(drain.stays).toEqual([]);
  for (const id of ids) {
    expect([await nodeOf(id), await widthOf(id)]).toEqual([first, 80]);
    await goesOn(id);
  }
  await coordinator.stopSession(ids[0]!);
  await coordinator.undrainNode(second);
  for (const id of ids) {
    await coordinator.stopSession(id);
    await awaitSession(coordinator, id, ({ observed }) => observed === 'stopped', { timeoutMs: 120_000 });
    const lines = system.journal(id);
    expect(lines.length).toBeGreaterThan(12);
    expect(lines.map(({ sequence }) => sequence)).toEqual(Array.from({ length: lines.length }, (_, index) => index));
    expect(lines.filter(({ dropped }) => dropped !== undefined)).toEqual([]);
  }
});
