import { afterEach, describe, expect, it } from 'vitest';
import { ClockEstimate } from './clock-estimate.js';
import { startTestCluster, type TestCluster, until } from './cluster.testing.js';

describe('ClockEstimate', () => {
  it('takes the shortest round trip of the window and forgets after a reset', () => {
    const estimate = new ClockEstimate();
    expect([estimate.rttMs, estimate.offsetMs]).toEqual([null, null]);
    // The node's clock is 5 s ahead; the slow answer was held up on its way back.
    estimate.add({ sentAt: 100, receivedAt: 100.5, nodeAt: 105.01 });
    estimate.add({ sentAt: 101, receivedAt: 101.02, nodeAt: 106.01 });
    estimate.add({ sentAt: 102, receivedAt: 102.3, nodeAt: 107.01 });
    expect(estimate.rttMs).toBeCloseTo(20);
    expect(estimate.offsetMs).toBeCloseTo(5000);
    for (let at = 200; at < 240; at++) estimate.add({ sentAt: at, receivedAt: at + 0.04, nodeAt: at + 0.02 });
    expect(estimate.rttMs).toBeCloseTo(40);
    expect(estimate.offsetMs).toBeCloseTo(0);
    estimate.reset();
    expect(estimate.rttMs).toBeNull();
  });
});

describe('NodeRegistry', () => {
  let cluster: TestCluster;
  afterEach(() => cluster.close());

  const nodes = () => cluster.client.nodes();

  it('measures round trip and clock offset', async () => {
    const fast = { node_id: 1, node_name: 'edge-1', labels: ['compute'], clockOffsetS: 30 };
    cluster = await startTestCluster({ nodes: [{ node_id: 0, node_name: 'camera', node_type: 'client' }, fast] });
    const edge = (await nodes())[1]!;
    expect(edge.clock_offset_ms).toBeGreaterThan(29_000);
    expect(edge.rtt_measured_ms).toBeGreaterThan(0);
    expect((await nodes())[0]!.clock_offset_ms).toBeLessThan(1_000);
  });

  it('asks the others while one does not answer', async () => {
    cluster = await startTestCluster();
    cluster.edge2.silent = true;
    const { heartbeats } = cluster.edge1;
    await until('the others go on', async () => cluster.edge1.heartbeats > heartbeats + 3);
    expect((await nodes()).map((node) => node.state)).toEqual(['up', 'up', 'up']);
    cluster.edge2.silent = false;
  });

  it('does not take a node for another', async () => {
    const swapped = { node_id: 1, node_name: 'edge-1', facts: { node_id: 9 } };
    cluster = await startTestCluster({ nodes: [{ node_id: 0, node_name: 'camera' }, swapped] });
    const edge = (await nodes())[1]!;
    expect(edge.state).toBe('unknown');
    expect(edge.problem).toMatch(/answers as node 9 edge-1, not 1 edge-1/);
  });

  it('comes and goes as often as it likes, each told once, and remembers over a restart', async () => {
    cluster = await startTestCluster();
    const state = async () => (await nodes())[2]!.state;
    for (let round = 0; round < 2; round++) {
      await cluster.edge2.kill();
      await until('it is lost', async () => (await state()) === 'lost');
      await cluster.edge2.start();
      await until('it is up', async () => (await state()) === 'up');
    }
    await cluster.edge2.kill();
    await until('it is lost', async () => (await state()) === 'lost');
    const kinds = (await cluster.client.events({ node_id: 2 })).map((event) => event.kind);
    expect(kinds).toEqual(['node.up', 'node.lost', 'node.up', 'node.lost', 'node.up', 'node.lost']);
    await cluster.restart();
    const seen = (await nodes())[2]!;
    expect(seen.state).toBe('unknown');
    expect(seen.last_seen).toBeGreaterThan(0);
    expect(seen.facts?.cpu_cores).toBe(4);
  });
});
