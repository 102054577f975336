/** The whole system end to end: real processes, real models, real pictures, real HTTP, a real database. */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { SessionRequestInput } from '../src/client/coordinator-client.js';
import type { ErrorCode } from '../src/contracts/errors.js';
import { OrchestratorError } from '../src/contracts/errors.js';
import { awaitRunning, awaitSession } from '../src/main/session-wait.js';
import {
  eventually,
  handlersOf,
  isAlive,
  NODES,
  SAMPLES,
  sinkSequence,
  spreadFaceService,
  startSystem,
  type TestSystem,
} from './support/system.js';

const POSTED = {
  service_id: 2,
  service_name: 'posted',
  handlers: [
    { handler_id: 1, handler_name: 'decode', handler_type: 'decode', at: 'source', post: true },
    {
      handler_id: 2,
      handler_name: 'detect',
      handler_type: 'detect_face',
      at: 1,
      cost: { cpu_ms: 1, mem_mb: 50 },
      params: { model: 'tiny_face_detector' },
    },
    { handler_id: 3, handler_name: 'draw', handler_type: 'draw_boxes', at: 'source' },
    { handler_id: 4, handler_name: 'render', handler_type: 'render', at: 'source', params: { boxes: true } },
  ],
  links: [
    { source_handler: 1, target_handler: 2 },
    { source_handler: 1, target_handler: 3 },
    { source_handler: 2, target_handler: 3, target_input: 1 },
    { source_handler: 3, target_handler: 4 },
  ],
};

/** Like `spread`, but the allocator may place the model handlers where it likes. */
function freeFaceService(): object {
  const spread = spreadFaceService({ service_id: 3, service_name: 'free', fps: 8 }) as {
    handlers: { handler_name: string; at?: unknown }[];
  };
  const handlers = spread.handlers.map((handler) => {
    if (!['decode', 'detect', 'align', 'recognize'].includes(handler.handler_name)) return handler;
    const { at: _, ...free } = handler;
    return handler.handler_name === 'detect' ? { ...free, at: 'fast' } : free;
  });
  return { ...spread, handlers };
}

const BROKEN = [
  {
    service_id: 90,
    service_name: 'bad_type',
    handlers: [{ handler_id: 1, handler_name: 'x', handler_type: 'teleport' }],
  },
  { service_id: 91, service_name: 'bad_key', handlerz: [] },
];

const TEMPLATE_ON_UNKNOWN_NODE = {
  service_id: 4,
  service_name: 'nowhere',
  template: [
    {
      node_id: 77,
      blueprint: {
        handlers: [
          { handler_id: 1, handler_name: 'capture', handler_type: 2, params: { source: '.' } },
          { handler_id: 2, handler_name: 'render', handler_type: 3 },
        ],
        links: [{ source_handler: 1, target_handler: 2 }],
      },
    },
  ],
};

let system: TestSystem;

beforeAll(async () => {
  system = await startSystem({
    services: [
      spreadFaceService({ service_id: 1, service_name: 'spread' }),
      POSTED,
      freeFaceService(),
      TEMPLATE_ON_UNKNOWN_NODE,
      ...BROKEN,
    ],
    nodes: NODES.map((node) => (node.node_id === 0 ? node : { ...node, labels: ['fast'] })),
  });
});

afterAll(async () => {
  await system?.close();
});

const sessionEnded = (id: number) =>
  awaitSession(system.coordinator, id, ({ observed }) => observed === 'stopped', { timeoutMs: 90_000 });

async function endSession(id: number): Promise<void> {
  await system.coordinator.stopSession(id);
  await sessionEnded(id);
  await system.coordinator.deleteSession(id);
  await expect(system.coordinator.session(id)).rejects.toMatchObject({ code: 'SESSION_NOT_FOUND' });
}

describe('a session over pictures', () => {
  let id: number;

  test('runs over three nodes and ends by itself, every picture accounted for', async () => {
    const source = system.pictures('six', 6);
    id = (await system.coordinator.createSession({ service: 'spread', source, delivery: 'all', source_node: 'client' }))
      .session_id!;
    await sessionEnded(id);
    const lines = system.journal(id);
    expect(lines.map((line) => line.sequence)).toEqual([0, 1, 2, 3, 4, 5]);
    const found = lines.map((line) => line.boxes!.length);
    // tiny_face_detector is the cheapest and misses some; services.test.ts holds the figures of every variant.
    expect(
      found.reduce((sum, count) => sum + count),
      found.join(),
    ).toBeGreaterThanOrEqual(18);
    expect(
      found.reduce((sum, count) => sum + count),
      found.join(),
    ).toBeLessThanOrEqual(24);
  }, 120_000);

  test('is in the database: start, end, sent and recv of every packet; sys_info of every node; proc_info of every handler', async () => {
    const sql = async (statement: string) => (await system.collector!.sql(statement)).rows as unknown[][];
    // 8 handlers x 6 packets; draw joins two inputs into one start; 8 links x 6 packets.
    const expected = [
      ['end', 48],
      ['recv', 48],
      ['sent', 48],
      ['start', 48],
    ];
    const rows = await eventually(
      'all packet events in the database',
      async () => {
        const found = await sql(
          `select event, count(*) from packet_info where session_id = ${id} group by event order by event`,
        );
        return JSON.stringify(found) === JSON.stringify(expected) ? found : undefined;
      },
      10_000,
    ).catch(() =>
      sql(`select event, count(*) from packet_info where session_id = ${id} group by event order by event`),
    );
    expect(rows).toEqual(expected);
    const nodes = await eventually('sys_info of every node', async () => {
      const found = await sql('select distinct node_id from sys_info order by node_id');
      return found.length === 3 ? found : undefined;
    });
    expect(nodes).toEqual([[0], [1], [2]]);
  });
});

test('a picture posted to a decode handler comes out as boxes at the other end', async () => {
  const { session_id } = await system.coordinator.createSession({ service: 'posted', source_node: 0 });
  const id = session_id!;
  await awaitRunning(system.coordinator, id);
  const url = system.nodes[0]!.url;
  const post = (body: Buffer, type: string) =>
    fetch(`${url}/v1/sessions/${id}/handlers/1/inputs/0`, {
      method: 'POST',
      headers: { 'content-type': type },
      body: new Uint8Array(body),
    });
  const answer = await post(readFileSync(SAMPLES[0]!), 'image/jpeg');
  expect([answer.status, await answer.json()]).toEqual([202, { sequence: 0, duplicate: false }]);
  const line = await eventually('the boxes of the posted picture', () =>
    system.journal(id).find((one) => one.sequence === 0),
  );
  expect(line.boxes!.length).toBeGreaterThanOrEqual(2);
  const latest = (await (await fetch(`${url}/v1/sessions/${id}/handlers/4/pages/boxes.json`)).json()) as {
    sequence: number;
  };
  expect(latest.sequence).toBe(0);

  const corrupt = await post(readFileSync(SAMPLES[1]!).subarray(0, 2000), 'image/jpeg');
  expect(corrupt.status).toBe(202);
  const dropped = await eventually('the corrupt picture', () => system.journal(id).find((one) => one.sequence === 1));
  expect([dropped.dropped, dropped.handler_id]).toEqual(['error', 1]);
  expect((await post(Buffer.from('hello'), 'text/plain')).status).toBe(415);
  expect((await fetch(`${url}/v1/sessions/${id}/handlers/99/inputs/0`, { method: 'POST', body: 'x' })).status).toBe(
    404,
  );
  await endSession(id);
});

test('a corrupt picture mid-stream is one error, and the others come through', async () => {
  const source = system.pictures('corrupt', 6, new Map([[2, Buffer.from('this is no picture')]]));
  const { session_id } = await system.coordinator.createSession({
    service: 'spread',
    source,
    delivery: 'all',
    source_node: 0,
  });
  await sessionEnded(session_id!);
  const lines = system.journal(session_id!);
  expect(lines.map((line) => [line.sequence, line.dropped])).toEqual(
    [0, 1, 2, 3, 4, 5].map((sequence) => [sequence, sequence === 2 ? 'error' : undefined]),
  );
});

describe('bad requests say what is wrong, and everything else goes on', () => {
  const rows: { name: string; request: () => SessionRequestInput; code: ErrorCode; status: number; message: RegExp }[] =
    [
      {
        name: 'unknown service',
        request: () => ({ service: 'teleport' }),
        code: 'SERVICE_NOT_FOUND',
        status: 404,
        message: /teleport/,
      },
      {
        name: 'a service whose file was refused',
        request: () => ({ service: 'bad_type' }),
        code: 'SERVICE_NOT_FOUND',
        status: 404,
        message: /bad_type/,
      },
      {
        name: 'unknown variant',
        request: () => ({ service: 'spread', variant: 'huge' }),
        code: 'VARIANT_NOT_FOUND',
        status: 404,
        message: /huge/,
      },
      {
        name: 'unknown source node',
        request: () => ({ service: 'spread', source_node: 55 }),
        code: 'NODE_NOT_FOUND',
        status: 404,
        message: /55/,
      },
      {
        name: 'a template on an unknown node',
        request: () => ({ service: 'nowhere', source_node: 0 }),
        code: 'SESSION_REFUSED',
        status: 409,
        message: /77/,
      },
      {
        name: 'an objective that nothing meets',
        request: () => ({ service: 'spread', source_node: 0, objective: { fps: 10, latency_ms_max: 5 } }),
        code: 'SESSION_REFUSED',
        status: 409,
        message: /> 5\.0 ms allowed/,
      },
      {
        name: 'fps out of range',
        request: () => ({ service: 'spread', objective: { fps: -1 } }),
        code: 'REQUEST_INVALID',
        status: 400,
        message: /fps/,
      },
      {
        name: 'unknown key',
        request: () => ({ service: 'spread', speed: 1 }) as SessionRequestInput,
        code: 'REQUEST_INVALID',
        status: 400,
        message: /speed/,
      },
      {
        name: 'parameter out of range',
        request: () => ({ service: 'spread', source_node: 0, params: { encode: { quality: 500 } } }),
        code: 'HANDLER_PARAMS_INVALID',
        status: 400,
        message: /quality.*100/,
      },
    ];

  test.each(rows)('$name', async ({ request, code, status, message }) => {
    const error = await system.coordinator.createSession(request()).then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    expect(error).toBeInstanceOf(OrchestratorError);
    const { code: gotCode, status: gotStatus, message: got } = error as OrchestratorError;
    expect([gotCode, gotStatus]).toEqual([code, status]);
    expect(got).toMatch(message);
  });

  test('a session id in use', async () => {
    const source = system.pictures('twice', 1);
    const first = await system.coordinator.createSession({
      service: 'spread',
      source,
      session_id: 500,
      source_node: 0,
      delivery: 'all',
    });
    expect(first.session_id).toBe(500);
    await expect(
      system.coordinator.createSession({ service: 'spread', source, session_id: 500, source_node: 0 }),
    ).rejects.toMatchObject({
      code: 'SESSION_EXISTS',
    });
    await sessionEnded(500);
  });

  test('a missing model fails that session only, and nothing of it is left', async () => {
    const source = system.pictures('nomodel', 1);
    const { session_id } = await system.coordinator
      .createSession({
        service: 'spread',
        source,
        source_node: 0,
        params: { detect: { model: 'no_such_model' } },
      })
      .catch((error: OrchestratorError) => {
        expect(['MODEL_NOT_FOUND', 'HANDLER_PARAMS_INVALID']).toContain(error.code);
        expect(error.message).toMatch(/no_such_model/);
        return { session_id: null };
      });
    if (session_id === null) return;
    const failed = await eventually('the session fails', async () => {
      const session = await system.coordinator.session(session_id);
      return session.observed === 'failed' ? session : undefined;
    });
    expect(failed.problem).toMatch(/no_such_model/);
  });

  test('a source outside the allowed directories', async () => {
    const { session_id } = await system.coordinator.createSession({
      service: 'spread',
      source: '/etc/passwd',
      source_node: 0,
    });
    const failed = await eventually('the session fails', async () => {
      const session = await system.coordinator.session(session_id!);
      return session.observed === 'failed' ? session : undefined;
    });
    expect(failed.problem).toMatch(/\/etc\/passwd is not in a directory that this node allows/);
  });

  test('session not found', async () => {
    await expect(system.coordinator.session(424242)).rejects.toMatchObject({ code: 'SESSION_NOT_FOUND', status: 404 });
  });
});

test('a killed node has its handlers re-placed and frames flow again; its hosts are gone', async () => {
  const source = system.pictures('endless', 12);
  const { coordinator } = system;
  const { session_id, plan } = await coordinator.createSession({
    service: 'free',
    source,
    source_node: 0,
    objective: { fps: 4 },
    params: { capture: { loop: true, fps: 4 } },
  });
  const id = session_id!;
  const victimId = plan.handlers.find((handler) => handler.handler_name === 'detect')!.node_id;
  expect([1, 2]).toContain(victimId);
  const running = await awaitRunning(coordinator, id);
  await eventually('frames at the sink', async () =>
    sinkSequence(await coordinator.session(id)) > 3 ? true : undefined,
  );
  const hosts = handlersOf(running)
    .filter((handler) => handler.node_id === victimId)
    .map((handler) => handler.pid!);

  const victim = system.nodes.find(({ node }) => node.node_id === victimId)!;
  const before = sinkSequence(await coordinator.session(id));
  process.kill(victim.daemon.pid!, 'SIGKILL');
  await eventually('another node runs detect and frames flow', async () => {
    const session = await coordinator.session(id);
    const detect = session.plan.handlers.find((handler) => handler.handler_name === 'detect')!;
    return detect.node_id !== victimId && sinkSequence(session) > before + 4 ? true : undefined;
  });
  await eventually('no host of the dead node is left', () => (hosts.some(isAlive) ? undefined : true));
  await eventually('the event that frames flow again', async () => {
    const events = await coordinator.events({ session_id: id });
    return events.some((event) => /flowing again/.test(event.message)) ? true : undefined;
  });
  await endSession(id);
}, 120_000);
