/** Probes between fake nodes, over HTTP: which pairs, how often, and what plans make of them. */
import { afterEach, describe, expect, it } from 'vitest';
import { CAMERA, EDGE_1, EDGE_2, startTestCluster, type TestCluster, until } from './cluster.testing.js';
import { probeFreshS } from './link-probes.js';

let cluster: TestCluster;
afterEach(() => cluster.close());

/** A cluster in which every node finds `rtt(source, target)`. */
async function probing(linkProbePeriodMs: number, rtt: (source: number, target: number) => number) {
  cluster = await startTestCluster({
    nodes: [CAMERA, EDGE_1, EDGE_2],
    coordinator: { bounds: { linkProbePeriodMs } },
  });
  for (const source of cluster.nodes) {
    for (const target of cluster.nodes) {
      const [from, to] = [source.options.node_id, target.options.node_id];
      if (from !== to) source.paths.set(to, { rtt_ms: rtt(from, to), mbit_per_s: 80 });
    }
  }
}

const link = async (source: number, target: number) =>
  (await cluster.client.links()).find((one) => one.source_node === source && one.target_node === target)!;

const far = (...nodes: number[]) => (nodes.includes(2) ? 40 : 1);

describe('LinkProbes', () => {
  it('goes round over every ordered pair, each node once in a period', async () => {
    await probing(60, far);
    const asked = () => cluster.nodes.map((node) => node.probes.map((one) => one.target_node));
    await until('two rounds over all pairs', async () => asked().every((targets) => targets.length >= 6));
    for (const [index, targets] of asked().entries()) {
      const others = [0, 1, 2].filter((one) => one !== index);
      expect([...targets.slice(-4)].sort()).toEqual([...others, ...others].sort());
    }
    const sent = cluster.nodes.map((node) => node.probes.length);
    expect(Math.max(...sent) - Math.min(...sent)).toBeLessThanOrEqual(1);
  });

  it('shows each figure with its source and age, and asks for one on demand', async () => {
    await probing(0, far);
    expect(await link(0, 1)).toMatchObject({
      rtt: { from: 'heartbeat', age_s: null },
      mbit: { value: 1000, from: 'file' },
    });
    const probed = await cluster.client.probeLink('camera', 1);
    expect(probed).toMatchObject({ source_name: 'camera', target_name: 'edge-1', rtt: { value: 1, from: 'probe' } });
    expect(probed.mbit).toMatchObject({ value: 80, from: 'probe' });
    expect((await link(1, 0)).rtt.from).toBe('heartbeat');
    expect((await cluster.client.links(2)).every((one) => one.source_node === 2 || one.target_node === 2)).toBe(true);
    await expect(cluster.client.probeLink(1, 1)).rejects.toMatchObject({ code: 'REQUEST_INVALID' });
    await expect(cluster.client.probeLink(1, 'nobody')).rejects.toMatchObject({ code: 'NODE_NOT_FOUND' });
    cluster.edge1.paths.clear();
    await expect(cluster.client.probeLink(1, 0)).rejects.toMatchObject({ code: 'NODE_UNREACHABLE' });
  });

  it('places by what was measured, and says so', async () => {
    await probing(0, far);
    const create = (latency_ms_max: number) =>
      cluster.client.createSession({ service: 'faces', dry_run: true, objective: { fps: 5, latency_ms_max } });
    for (const [source, target] of [
      [0, 1],
      [1, 0],
      [0, 2],
      [2, 0],
    ] as const) {
      await cluster.client.probeLink(source, target);
    }
    const { plan } = await create(60);
    expect(plan.handlers.find((one) => one.handler_name === 'detect')!.node_name).toBe('edge-1');
    expect(plan.links.find((one) => one.target_node === 1)!.latency_from).toBe('probe');
    expect(plan.reasons).toContain('camera -> edge-1: round trip 1.0 ms, measured by a probe');
    expect(plan.reasons).toContain('ruled out by latency, camera -> edge-2: round trip 40.0 ms, measured by a probe');
  });

  it('leaves busy nodes and running links alone, unless asked', async () => {
    await probing(60, far);
    const { session_id } = await cluster.client.createSession({ service: 'faces', objective: { fps: 5 } });
    cluster.edge1.links.set(2, [
      {
        ...{ source_handler: 1, source_output: 0, target_handler: 2, target_input: 0, source_node: 0 },
        ...{ transport: 'tcp', connected: true, packets: 9, bytes: 9, reconnects: 0, duplicates: 0 },
        ...{ latency_ms_p50: 1, latency_ms_p95: 1, rtt_ms: 0.4, mbit_per_s: 300 },
      },
    ]);
    await cluster.awaitState(session_id!, 'running');
    await until('the link is seen', async () => (await link(0, 1)).rtt.from === 'link');
    const before = cluster.camera.probes.length;
    await until('more probes', async () => cluster.camera.probes.length > before + 4);
    const since = cluster.camera.probes.slice(before + 1);
    expect(since.every((one) => one.target_node === 2)).toBe(true);
    expect(await link(0, 1)).toMatchObject({ rtt: { value: 0.4, from: 'link' }, mbit: { value: 300, from: 'link' } });
    await cluster.client.probeLink(0, 1);
    expect(cluster.camera.probes.at(-1)!.target_node === 1 || cluster.camera.probes.at(-2)!.target_node === 1).toBe(
      true,
    );
  });
});

describe('probeFreshS', () => {
  it('is two rounds over all pairs, at least ten minutes', () => {
    expect(probeFreshS(3, 30_000)).toBe(600);
    expect(probeFreshS(101, 30_000)).toBe(6000);
  });
});
