import { afterEach, describe, expect, it } from 'vitest';
import type { ApplyResult } from '../contracts/apply.js';
import { CAMERA, EDGE_1, EDGE_2, startTestCluster, type TestCluster, until } from './cluster.testing.js';

let cluster: TestCluster;
afterEach(() => cluster.close());

/** The file behind FACES; `large`: parameters of detect's better alternative. */
function faces(large: object = { model: 'large' }, more: object = {}) {
  return {
    ...{ service_id: 1, service_name: 'faces' },
    handlers: [
      { handler_id: 1, handler_name: 'capture', handler_type: 'capture', at: 'source' },
      {
        ...{ handler_id: 2, handler_name: 'detect', handler_type: 'detect_object', require: { label: 'compute' } },
        cost: { cpu_ms: 20 },
        alternatives: [
          { name: 'large', params: large, accuracy: 0.95, cost: { cpu_ms: 40 } },
          { name: 'small', params: { model: 'small' }, accuracy: 0.9, cost: { cpu_ms: 5 } },
        ],
      },
      { handler_id: 3, handler_name: 'draw', handler_type: 'draw_boxes', at: 'source' },
      { handler_id: 4, handler_name: 'render', handler_type: 'render', at: 'source' },
    ],
    links: [
      { source_handler: 1, source_output: 0, target_handler: 2, target_input: 0 },
      { source_handler: 1, source_output: 0, target_handler: 3, target_input: 0 },
      { source_handler: 2, source_output: 0, target_handler: 3, target_input: 1 },
      { source_handler: 3, source_output: 0, target_handler: 4, target_input: 0 },
    ],
    ...more,
  };
}

async function running(count: number): Promise<number[]> {
  cluster = await startTestCluster({ nodes: [CAMERA, EDGE_1, EDGE_2] });
  const ids: number[] = [];
  for (let made = 0; made < count; made++) {
    const { session_id } = await cluster.client.createSession({ service: 'faces' });
    await cluster.awaitState(session_id!, 'running');
    ids.push(session_id!);
  }
  return ids;
}

const apply = (definition: object, dry_run = false) => cluster.client.applyService({ definition, dry_run });
const wordsOf = ({ sessions }: ApplyResult) => sessions.map(({ outcome, words }) => `${outcome}: ${words}`);
const modelOf = async (id: number) => (await cluster.client.session(id)).plan.handlers[1]!.params.model;

describe('a changed definition', () => {
  it('says what it would change, and changes nothing', async () => {
    const [id] = await running(1);
    const result = await apply(faces({ model: 'huge' }), true);
    expect(wordsOf(result)).toEqual(['changes: detect on edge-1']);
    expect((await cluster.client.session(id!)).generation).toBe(1);
    const { plan } = await cluster.client.createSession({ service: 'faces', dry_run: true });
    expect(plan.handlers[1]!.params.model).toBe('large');
  });

  it('rolls through the sessions one after the other, make before break, and holds for new ones and after a restart', async () => {
    const ids = await running(2);
    const { edge1, camera } = cluster;
    edge1.holds = true;
    expect(wordsOf(await apply(faces({ model: 'huge' })))).toEqual([
      'changes: detect on edge-1',
      'changes: detect on edge-1',
    ]);
    await until('the first one is made anew', async () => edge1.puts.some((put) => put.generation === 2));
    await cluster.heartbeats(5);
    expect(new Set(edge1.puts.filter((put) => put.generation === 2).map((put) => put.session_id))).toEqual(
      new Set([ids[0]]),
    );
    edge1.holds = false;
    expect((await cluster.awaitEvent('service.applied')).message).toBe(
      'faces applied | 2 of 2 sessions had something to change',
    );
    for (const id of ids) {
      const view = await cluster.awaitState(id, 'running');
      expect([view.generation, await modelOf(id)]).toEqual([2, 'huge']);
    }
    expect([edge1.deletes, camera.deletes]).toEqual([[], []]);
    const { plan } = await cluster.client.createSession({ service: 'faces', dry_run: true });
    expect(plan.handlers[1]!.params.model).toBe('huge');
    await cluster.restart();
    await cluster.awaitState(ids[0]!, 'running');
    await edge1.kill();
    const view = await until('it is placed again', async () => {
      const seen = await cluster.client.session(ids[0]!);
      return seen.generation === 3 && seen.observed === 'running' ? seen : `${seen.generation} ${seen.observed}`;
    });
    expect(view.plan.handlers[1]).toMatchObject({ node_name: 'edge-2', params: { model: 'huge' } });
  });

  it('is taken back where it cannot be made, and goes no further', async () => {
    const [first, second] = await running(2);
    for (const edge of [cluster.edge1, cluster.edge2]) edge.noModel = 'huge';
    await apply(faces({ model: 'huge' }));
    expect((await cluster.awaitEvent('service.apply_failed')).message).toMatch(
      /^faces: given up at session 1: .*failed/,
    );
    const view = await cluster.awaitState(first!, 'running');
    expect([view.generation, await modelOf(first!), await modelOf(second!)]).toEqual([3, 'large', 'large']);
  });

  it('that changes no parameter is adopted without touching anything', async () => {
    const [id] = await running(1);
    const before = cluster.edge1.puts.length;
    expect(wordsOf(await apply(faces({ model: 'large' }, { description: 'finds faces' })))).toEqual([
      'unchanged: every handler as it is',
    ]);
    expect((await cluster.awaitEvent('service.applied')).message).toBe(
      'faces applied | 0 of 1 sessions had something to change',
    );
    expect(cluster.edge1.puts.length).toBe(before);
    expect((await cluster.client.session(id!)).generation).toBe(1);
  });

  it('is refused by name where a running session cannot take it, or as a whole', async () => {
    await running(1);
    const { handlers, links } = faces();
    const fewer = faces(
      { model: 'large' },
      {
        handlers: handlers.filter((one) => one.handler_id !== 3),
        links: [
          { source_handler: 1, source_output: 0, target_handler: 2, target_input: 0 },
          { source_handler: 1, source_output: 0, target_handler: 4, target_input: 0 },
        ],
      },
    );
    expect(wordsOf(await apply(fewer, true))).toEqual([
      'refused: other handlers (-draw); stop it and start another one',
    ]);
    const preview = faces({ model: 'large' }, { links: links.map((link) => ({ ...link, delivery: 'latest' })) });
    expect(wordsOf(await apply(preview, true))).toEqual(['refused: other links; stop it and start another one']);
    await expect(apply({ ...faces(), service_name: 'voices' })).rejects.toMatchObject({ code: 'APPLY_REFUSED' });
    await expect(apply({ ...faces(), service_id: 9 })).rejects.toMatchObject({ code: 'APPLY_REFUSED' });
    await expect(apply({ ...faces(), handlers: [] })).rejects.toMatchObject({ code: 'SERVICE_FILE_INVALID' });
  });
});
