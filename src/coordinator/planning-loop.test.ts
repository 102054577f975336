import { afterEach, describe, expect, it } from 'vitest';
import { BASELINES } from '../allocation/fleet/baselines.js';
import {
  CAMERA,
  EDGE_1,
  EDGE_2,
  startTestCluster,
  type TestCluster,
  type TestClusterOptions,
  until,
} from './cluster.testing.js';

let cluster: TestCluster;
afterEach(() => cluster.close());

const GOAL = { fps: 20, accuracy_min: 0.5 };

const models = async (): Promise<string[]> =>
  (await cluster.client.sessions())
    .filter((one) => one.observed === 'running')
    .map((one) => one.plan.handlers[1]!.alternative)
    .sort();

/** Sessions of the large model until edge-2 (4 cores) promises no more. */
async function full(coordinator: TestClusterOptions['coordinator'] = {}): Promise<number[]> {
  cluster = await startTestCluster({ nodes: [CAMERA, EDGE_2], coordinator });
  const ids: number[] = [];
  for (let count = 0; count < 4; count++) {
    const { session_id } = await cluster.client.createSession({ service: 'faces', objective: GOAL });
    await cluster.awaitState(session_id!, 'running');
    ids.push(session_id!);
  }
  return ids;
}

describe('the planning loop', () => {
  it('lets running sessions make room in a cheaper variant before a new one is refused', async () => {
    await full();
    expect(await models()).toEqual(['large', 'large', 'large', 'large']);
    const dry = cluster.client.createSession({ service: 'faces', objective: GOAL, dry_run: true });
    await expect(dry).rejects.toMatchObject({ code: 'SESSION_REFUSED' });
    expect(await models()).toEqual(['large', 'large', 'large', 'large']);
    const { session_id, plan } = await cluster.client.createSession({ service: 'faces', objective: GOAL });
    expect(plan.reasons[0]).toMatch(/^\d others? made room for it$/);
    await cluster.awaitState(session_id!, 'running');
    const moved = await cluster.awaitEvent('session.moved');
    expect(moved.message).toMatch(
      /^session \d: makes room for others \| detect \(large -> small\) -> edge-2 \| accuracy 0.950 -> 0.900 \| warmed /,
    );
    const all = await until('all run', async () => ((await models()).length === 5 ? models() : 'not yet'));
    expect(all.filter((one) => one === 'large').length).toBeGreaterThanOrEqual(3);
  });

  it('lets accuracy rise again when there is room, in calm', async () => {
    const [first] = await full({ loopRules: { dwellS: 0.1, calmS: 0.1, improvePeriodS: 0.2, headroom: 0 } });
    const { session_id } = await cluster.client.createSession({ service: 'faces', objective: GOAL });
    await cluster.awaitState(session_id!, 'running');
    await until('somebody runs the small model', async () => ((await models()).includes('small') ? true : 'not yet'));
    await cluster.client.stopSession(first!);
    await until('all run the large model', async () => {
      const now = await models();
      return (now.length === 4 && now.every((one) => one === 'large')) || now.join(' ');
    });
    const messages = (await cluster.client.events()).map((event) => event.message);
    expect(messages).toContainEqual(
      expect.stringMatching(
        /^session \d: improved in calm \| detect \(small -> large\) -> edge-2 \| accuracy 0.900 -> 0.950 \| warmed /,
      ),
    );
  });

  it('falls to a cheaper variant on a node that is overloaded, and rises when it is as quick as usual', async () => {
    const rules = { confirmS: 0.1, calmS: 0.1, dwellS: 0.2, improvePeriodS: 0.2, headroom: 0 };
    cluster = await startTestCluster({ nodes: [CAMERA, EDGE_2], coordinator: { loopRules: rules } });
    const edge = cluster.nodes[1]!;
    const { session_id } = await cluster.client.createSession({ service: 'faces', objective: GOAL });
    await cluster.awaitState(session_id!, 'running');
    let processed = 0;
    let service_ms_total = 0;
    /** As heartbeats tell it while each packet takes so long, until the session runs this model. */
    const runs = (serviceMs: number, model: string, enough = processed + 30) =>
      until(`${model} runs`, async () => {
        processed += 1;
        service_ms_total += serviceMs * ((await models())[0] === 'small' ? 0.2 : 1);
        edge.tell(session_id!, 2, { processed, service_ms_total });
        const now = await models();
        return (processed > enough && now[0] === model) || now.join(' ');
      });
    edge.cpuUtil = 50;
    await runs(40, 'large');
    // Busy cores alone are no reason.
    edge.cpuUtil = 100;
    await runs(40, 'large');
    await runs(120, 'small');
    // It does not look calm because the small one has never been seen at its best.
    await runs(120, 'small', processed + 100);
    expect((await cluster.client.events()).filter(({ kind }) => kind === 'node.usual')).toEqual([]);
    const moved = await cluster.awaitEvent('session.moved');
    expect(moved.message).toMatch(
      /^session \d: to hold 20 fps \| detect \(large -> small\) -> edge-2 \| accuracy 0.950 -> 0.900 \| warmed /,
    );
    expect((await cluster.awaitEvent('node.slow')).message).toMatch(
      /^edge-2 is overloaded: cpu 100 %, packets take \d\.\d times as long$/,
    );
    expect((await cluster.client.nodes())[1]).toMatchObject({ cpu_util: 100, slowness: expect.any(Number) });
    edge.cpuUtil = 30;
    await runs(40, 'large');
    expect((await cluster.awaitEvent('node.usual')).message).toBe('edge-2 is as quick as usual again');
    expect((await cluster.client.nodes())[1]).toMatchObject({ slowness: 1 });
  });

  it('runs what is quicker when it is measured late, and only then', async () => {
    const rules = { confirmS: 0.1, dwellS: 0.1 };
    cluster = await startTestCluster({ nodes: [CAMERA, EDGE_2], coordinator: { loopRules: rules } });
    const goal = { fps: 5, accuracy_min: 0.5 };
    const dry = await cluster.client.createSession({ service: 'faces', objective: goal, dry_run: true });
    const latency_ms_max = 1.5 * dry.plan.latency_ms;
    const objective = { ...goal, latency_ms_max };
    const { session_id, plan } = await cluster.client.createSession({ service: 'faces', objective });
    expect(plan.handlers[1]!.alternative).toBe('large');
    await cluster.awaitState(session_id!, 'running');
    let processed = 0;
    let late = 0;
    /** Frames that come to their end with each heartbeat, and how many of them are late. */
    const frames = async (p95: number, lateOf10: number) => {
      processed += 10;
      late += lateOf10;
      cluster.camera.tell(session_id!, 4, { end_to_end_ms_p95: p95 * latency_ms_max, processed, late });
      await cluster.heartbeats(1);
    };
    for (let beat = 0; beat < 10; beat++) await frames(0.9, 0);
    // A burst stays in the percentile; what comes after it is in time.
    for (let beat = 0; beat < 30; beat++) await frames(3, 0);
    expect((await cluster.client.session(session_id!)).generation).toBe(1);
    await until('it is moved', async () => {
      await frames(3, 10);
      return (await cluster.client.session(session_id!)).generation > 1 || 'not yet';
    });
    expect((await cluster.awaitEvent('session.moved')).message).toMatch(
      /to hold 5 fps within [\d.]+ ms \| detect \(large -> small\) -> edge-2 \| accuracy 0\.950 -> 0\.900/,
    );
  });

  it('refuses below nobody’s floor', async () => {
    await full();
    const goal = { ...GOAL, accuracy_min: 0.95 };
    for (const { session_id } of await cluster.client.sessions()) await cluster.client.stopSession(session_id);
    await until('all have stopped', async () =>
      (await cluster.client.sessions()).every((one) => one.observed === 'stopped'),
    );
    for (let count = 0; count < 4; count++) await cluster.client.createSession({ service: 'faces', objective: goal });
    await expect(cluster.client.createSession({ service: 'faces', objective: goal })).rejects.toMatchObject({
      code: 'SESSION_REFUSED',
    });
  });

  it('gives a place to those whom a lost node left without', async () => {
    cluster = await startTestCluster();
    const { client, edge1 } = cluster;
    for (let count = 0; count < 7; count++) {
      const { session_id } = await client.createSession({ service: 'faces', objective: GOAL });
      await cluster.awaitState(session_id!, 'running');
    }
    await edge1.kill();
    await until('everybody runs on edge-2', async () => {
      const seen = await client.sessions();
      const there = seen.every((one) => one.observed === 'running' && one.plan.handlers[1]!.node_id === 2);
      return there || seen.map((one) => `${one.observed}@${one.plan.handlers[1]!.node_id}`).join(' ');
    });
    expect(await models()).toContain('small');
  });

  it('lets the algorithm of the operator decide', async () => {
    const allocator = BASELINES.find((one) => one.name === 'least_loaded')!;
    cluster = await startTestCluster({ nodes: [CAMERA, EDGE_1, EDGE_2], coordinator: { allocator } });
    const places: number[] = [];
    for (let count = 0; count < 2; count++) {
      const { session_id, plan } = await cluster.client.createSession({ service: 'faces', objective: { fps: 5 } });
      expect(plan.reasons[0]).toBe('placed by least_loaded');
      await cluster.awaitState(session_id!, 'running');
      places.push(plan.handlers[1]!.node_id);
    }
    expect(places).toEqual([1, 2]);
  });
});
