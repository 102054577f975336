import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestCluster, type TestCluster, until } from './cluster.testing.js';

let cluster: TestCluster;
let url: string;
const TOKEN = 's3cret';

beforeAll(async () => {
  cluster = await startTestCluster({ coordinator: { token: TOKEN }, down: [2] });
  url = cluster.coordinator.address.url;
});
afterAll(() => cluster.close());

const headers = { authorization: `Bearer ${TOKEN}`, 'content-type': 'application/json' };

async function ask(method: string, path: string, body?: unknown) {
  const payload = typeof body === 'string' ? body : JSON.stringify(body);
  const given = body === undefined ? { authorization: headers.authorization } : headers;
  const response = await fetch(`${url}${path}`, { method, headers: given, body: payload });
  const type = response.headers.get('content-type') ?? '';
  return { status: response.status, type, body: (await response.json()) as Record<string, unknown> };
}

const create = (more: object = {}) => ({ service: 'faces', ...more });

describe('bad requests', () => {
  it.each<[string, string, string, unknown, number, string, string]>([
    ['not JSON', 'POST', '/v1/sessions', '{', 400, 'REQUEST_INVALID', 'JSON'],
    ['no service', 'POST', '/v1/sessions', {}, 400, 'REQUEST_INVALID', 'body: /'],
    ['an unknown key', 'POST', '/v1/sessions', create({ fps: 5 }), 400, 'REQUEST_INVALID', 'unknown key fps'],
    ['fps 0', 'POST', '/v1/sessions', create({ objective: { fps: 0 } }), 400, 'REQUEST_INVALID', '/objective/fps'],
    [
      'accuracy 2',
      'POST',
      '/v1/sessions',
      create({ objective: { accuracy_min: 2 } }),
      400,
      'REQUEST_INVALID',
      '(is 2)',
    ],
    ['an unknown delivery', 'POST', '/v1/sessions', create({ delivery: 'some' }), 400, 'REQUEST_INVALID', '/delivery'],
    ['an unknown service', 'POST', '/v1/sessions', create({ service: 'cars' }), 404, 'SERVICE_NOT_FOUND', 'faces'],
    ['an unknown variant', 'POST', '/v1/sessions', create({ variant: 'huge' }), 404, 'VARIANT_NOT_FOUND', 'huge'],
    [
      'an unknown source node',
      'POST',
      '/v1/sessions',
      create({ source_node: 'roof' }),
      404,
      'NODE_NOT_FOUND',
      'camera',
    ],
    [
      'parameters of a handler that is not there',
      ...([
        'POST',
        '/v1/sessions',
        create({ params: { blur: {} } }),
        400,
        'REQUEST_INVALID',
        'capture, detect',
      ] as const),
    ],
    [
      'an unknown parameter',
      ...(['POST', '/v1/sessions', create({ params: { detect: { thresholt: 1 } } }), 400] as const),
      ...(['HANDLER_PARAMS_INVALID', 'no parameter thresholt; it has model, targets, thresh'] as const),
    ],
    [
      'a parameter out of range',
      ...(['POST', '/v1/sessions', create({ params: { detect: { tresh: 7 } } }), 400] as const),
      ...(['HANDLER_PARAMS_INVALID', '/thresh must be <= 1 (is 7)'] as const),
    ],
    ['a session that is not there', 'GET', '/v1/sessions/99', undefined, 404, 'SESSION_NOT_FOUND', '99'],
    ['a session id that is none', 'GET', '/v1/sessions/x', undefined, 400, 'REQUEST_INVALID', 'path: /session_id'],
    ['starting nothing', 'POST', '/v1/sessions/99/start', undefined, 404, 'SESSION_NOT_FOUND', '99'],
    ['stopping nothing', 'POST', '/v1/sessions/99/stop', undefined, 404, 'SESSION_NOT_FOUND', '99'],
    ['deleting nothing', 'DELETE', '/v1/sessions/99', undefined, 404, 'SESSION_NOT_FOUND', '99'],
    ['explaining nothing', 'GET', '/v1/sessions/99/explain', undefined, 404, 'SESSION_NOT_FOUND', '99'],
    ['too many events', 'GET', '/v1/events?limit=99999', undefined, 400, 'REQUEST_INVALID', 'query: /limit'],
    ['an unknown address', 'GET', '/v1/nothing', undefined, 404, 'ROUTE_NOT_FOUND', '/v1/nothing'],
  ])('%s', async (_name, method, path, body, status, code, words) => {
    const answer = await ask(method, path, body);
    expect([answer.status, answer.body.code]).toEqual([status, code]);
    expect(answer.type).toContain('application/problem+json');
    expect(answer.body.detail).toContain(words);
    expect(cluster.nodes.flatMap((node) => node.puts)).toEqual([]);
  });

  it('asks for the token everywhere but for health', async () => {
    expect((await fetch(`${url}/v1/nodes`)).status).toBe(401);
    expect((await fetch(`${url}/metrics`)).status).toBe(401);
    expect((await fetch(`${url}/v1/health`)).status).toBe(200);
  });
});

describe('refusal and dry run', () => {
  it('refuses with every reason and the nearest objective, and stores nothing', async () => {
    const answer = await ask('POST', '/v1/sessions', create({ objective: { fps: 10, accuracy_min: 0.99 } }));
    expect([answer.status, answer.body.code]).toEqual([409, 'SESSION_REFUSED']);
    const { refusal } = answer.body.context as { refusal: Record<string, unknown> };
    expect(refusal).toMatchObject({ service_name: 'faces', nearest: { accuracy_min: expect.any(Number) } });
    expect(await cluster.state.sessions()).toEqual([]);
  });

  it('plans without starting', async () => {
    const answer = await ask(
      'POST',
      '/v1/sessions',
      create({ dry_run: true, objective: { fps: 5, latency_ms_max: 500 } }),
    );
    expect(answer.status).toBe(200);
    expect(answer.body).toMatchObject({ session_id: null, plan: { variant: 'large', fps: 5 } });
    expect(await cluster.state.sessions()).toEqual([]);
    const views = await cluster.client.sessions();
    expect(views).toEqual([]);
  });
});

describe('a running session', () => {
  it('is shown, explained, counted, told, and its id is taken', async () => {
    const { client, camera, edge1 } = cluster;
    const created = await ask('POST', '/v1/sessions', create({ session_id: 7, objective: { fps: 5 } }));
    expect([created.status, created.body.session_id]).toEqual([201, 7]);
    await cluster.awaitState(7, 'running');
    expect((await ask('POST', '/v1/sessions', create({ session_id: 7 }))).body).toMatchObject({
      ...{ status: 409, code: 'SESSION_EXISTS' },
    });

    edge1.inferences.set(2, { threads: 2, threads_why: '4 cores for 2 inferences at a time' });
    edge1.tell(7, 2, { service_ms_p50: 21, service_ms_p95: 30, fps: 4.9, processed: 100 });
    camera.tell(7, 4, { end_to_end_ms_p50: 40, end_to_end_ms_p95: 63 });
    const explained = await until('figures', async () => {
      const seen = await client.explain(7);
      return seen.end_to_end.measured_ms_p95 !== null && seen.handlers[1]?.measured?.fps === 4.9 ? seen : false;
    });
    expect(explained.end_to_end).toMatchObject({ predicted_ms: explained.plan.latency_ms, measured_ms_p50: 40 });
    expect(explained.handlers[1]).toMatchObject({
      ...{ handler_name: 'detect', node_name: 'edge-1', state: 'running' },
      ...{ threads: 2, threads_why: '4 cores for 2 inferences at a time' },
      measured: { service_ms_p50: 21, service_ms_p95: 30 },
    });
    expect(explained.handlers[1]!.predicted.compute_ms).toBeGreaterThan(0);
    expect(explained.handlers[1]!.rejected).toContainEqual(expect.stringMatching(/^camera .*label compute/));
    expect(explained.links.length).toBe(4);

    const health = await client.health();
    expect(health).toMatchObject({ status: 'ok', epoch: 1, nodes: { up: 2, unknown: 1 }, sessions: { running: 1 } });
    const metrics = await (await fetch(`${url}/metrics`, { headers })).text();
    expect(metrics).toContain('orchestrator_sessions{state="running"} 1');
    expect(metrics).toContain('orchestrator_nodes{state="up"} 2');
    expect(metrics).toMatch(/orchestrator_heartbeats_total [1-9]/);
    expect(metrics).toContain('orchestrator_replans_total 0');

    const kinds = (await client.events({ session_id: 7 })).map((event) => event.kind);
    expect(kinds).toEqual(expect.arrayContaining(['session.admitted', 'session.running']));
    const snapshot = await client.snapshot();
    expect(snapshot.sessions.map((session) => session.session_id)).toEqual([7]);
    expect(snapshot.fleet.nodes.map((one) => one.node_name)).toEqual(snapshot.nodes.map((one) => one.node_name));
    expect(snapshot.fleet.sessions.map((one) => one.previous?.[1]?.node_id)).toEqual([1]);
  });

  it('lists nodes, services and handler types, and describes itself', async () => {
    const { client } = cluster;
    expect((await client.nodes()).map((node) => [node.node_name, node.state])).toEqual([
      ['camera', 'up'],
      ['edge-1', 'up'],
      ['edge-2', 'unknown'],
    ]);
    expect((await client.nodes())[2]!.problem).toContain('ECONNREFUSED');
    const services = await client.services();
    expect(services.map((one) => [one.service_name, one.template])).toEqual([
      ['faces', false],
      ['local_render', true],
    ]);
    expect(services[0]!.variants[0]!.handlers[1]!.alternatives).toEqual(['large', 'small']);
    const types = await client.handlerTypes();
    expect(types.find((type) => type.handler_type_name === 'detect_object')).toMatchObject({
      aliases: ['YoloDetectObject'],
      params: { properties: { thresh: { maximum: 1 } } },
    });
    const openapi = (await ask('GET', '/openapi.json')).body as { paths: Record<string, object> };
    expect(Object.keys(openapi.paths)).toEqual(
      expect.arrayContaining(['/v1/sessions', '/v1/sessions/{session_id}/explain', '/v1/events', '/metrics']),
    );
  });
});

describe('events', () => {
  it('are followed from a moment on, without a gap or a double', async () => {
    const { client } = cluster;
    const past = await client.events();
    const after = past[1]!.timestamp;
    const stop = new AbortController();
    const seen: string[] = [];
    const expected = past.filter((event) => event.timestamp > after).map((event) => event.message);
    const following = (async () => {
      for await (const event of client.followEvents({ signal: stop.signal, after })) seen.push(event.message);
    })();
    await until('the past', async () => seen.length >= expected.length);
    await client.stopSession(7);
    await until('the stop', async () => seen.at(-1)?.endsWith('faces stopped') === true);
    stop.abort();
    await following;
    expect(seen.slice(0, expected.length)).toEqual(expected);
    expect(new Set(seen).size).toBe(seen.length);
    const later = await client.events({ after: past.at(-1)!.timestamp });
    expect(later.map((event) => event.kind)).toContain('session.stopped');
    expect(later.every((event) => event.timestamp > past.at(-1)!.timestamp)).toBe(true);
  });
});
