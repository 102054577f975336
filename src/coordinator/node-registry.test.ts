import { afterEach, describe, expect, it } from 'vitest';
import { startTestCluster, type TestCluster, until } from './cluster.testing.js';

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
    expect(edge.clock_error_ms).toBeGreaterThan(edge.rtt_measured_ms! / 2);
    expect((await nodes())[0]!.clock_offset_ms).toBeLessThan(1_000);
  });

  it('tells each node what its clock is off by, in the name of its epoch, and shows what the node made of it', async () => {
    cluster = await startTestCluster({
      nodes: [
        { node_id: 0, node_name: 'camera', node_type: 'client' },
        { node_id: 1, node_name: 'edge-1', labels: ['compute'], clockOffsetS: 30 },
      ],
    });
    const told = await until('the node is told', async () => cluster.edge1.told.at(-1) ?? false);
    expect(told.epoch).toBe(cluster.coordinator.epoch);
    expect(Math.abs(told.clock_offset_ms! - 30_000)).toBeLessThanOrEqual(told.clock_error_ms!);
    await until('it is shown', async () => ((await nodes())[1]!.clock_correction_ms ?? 0) > 29_000);
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
