/** The examples as a reader runs them, and the Python handler under faults: real python3, real processes, `kill -9`. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { SessionView } from '../src/contracts/session.js';
import { awaitRunning, awaitSession } from '../src/main/session-wait.js';
import { eventually, handlersOf, isAlive, sinkSequence, startSystem, type TestSystem } from './support/system.js';

const EXAMPLE = fileURLToPath(new URL('../examples/python-handler/', import.meta.url));
const PROGRAM = `${EXAMPLE}skin_boxes.py`;
const COMMAND = `python3 ${PROGRAM}`;
const SKIN = 2;

beforeAll(() => {
  try {
    execFileSync('python3', ['--version']);
  } catch {
    throw new Error('these tests need python3 (3.8 or newer) in PATH');
  }
});

/** The service of the example; declared cheap, so that a loaded machine does not refuse what the test is not about. */
function service(service_id: number, service_name: string, params: object): object {
  const file = JSON.parse(readFileSync(`${EXAMPLE}services/skin_boxes.json`, 'utf8'));
  const handlers = file.handlers.map((handler: { handler_id: number; params?: object }) => ({
    ...handler,
    cost: { cpu_ms: 1, mem_mb: 50 },
    params: { ...handler.params, ...(handler.handler_id === SKIN ? params : {}) },
  }));
  return { ...file, service_id, service_name, handlers };
}

/** What has come so far. */
function textOf(stream: Readable): () => string {
  let text = '';
  stream.setEncoding('utf8').on('data', (chunk) => {
    text += chunk;
  });
  return () => text;
}

test('run.sh: a Python program joins a running session, and boxes come out', async () => {
  const shell = spawn(`${EXAMPLE}run.sh`, { stdio: ['ignore', 'pipe', 'pipe'] });
  const [said, errors] = [textOf(shell.stdout), textOf(shell.stderr)];
  const code = await new Promise((resolve) => shell.once('close', resolve));
  const output = said() + errors();
  expect(code, output).toBe(0);
  expect(output).toMatch(
    /skin: waiting for a program to join at http:\/\/127\.0\.0\.1:\d+\/v1\/sessions\/1\/handlers\/2\/worker/,
  );
  expect(output).toMatch(/joined handler 2 of session 1/);
  expect(output.match(/"sequence":\d+,"boxes":\[\{"label":"skin"/g)).toHaveLength(6);
}, 120_000);

describe('in a system of three nodes', () => {
  let system: TestSystem;
  const programs: ChildProcess[] = [];

  beforeAll(async () => {
    const services = [
      service(1, 'joined', {}),
      service(2, 'shared', { in_flight: 3 }),
      service(3, 'started', { command: COMMAND }),
      service(4, 'forbidden', { command: 'python3 -c pass' }),
    ];
    system = await startSystem({ services, commands: [COMMAND] });
  });
  afterEach(() => {
    for (const program of programs.splice(0)) program.kill('SIGKILL');
  });
  afterAll(async () => {
    await system?.close();
  });

  async function start(name: string, pictures: number, more: object = {}): Promise<SessionView> {
    const source = system.pictures(`${name}-${Math.random()}`, pictures);
    // Slow enough that pictures are left while a busy machine starts programs again.
    const params = { capture: { fps: 4 } };
    const request = { service: name, source, source_node: 0, delivery: 'all' as const, params, ...more };
    const { session_id } = await system.coordinator.createSession(request);
    return awaitRunning(system.coordinator, session_id!);
  }

  /** A program of the example, told the node that the plan chose. */
  function run(file: string, { session_id, plan }: SessionView, handlerId: number): ChildProcess {
    const { node_id } = plan.handlers.find((one) => one.handler_id === handlerId)!;
    const { url } = system.nodes.find(({ node }) => node.node_id === node_id)!;
    const program = spawn('python3', [EXAMPLE + file, url, String(session_id), String(handlerId)]);
    programs.push(program);
    return program;
  }

  const joinWith = (view: SessionView, handlerId = SKIN) => run('skin_boxes.py', view, handlerId);

  const exit = (program: ChildProcess) => {
    const errors = textOf(program.stderr!);
    return new Promise<{ code: number | null; errors: string }>((resolve) => {
      program.once('close', (code) => resolve({ code, errors: errors() }));
    });
  };

  async function joined(view: SessionView): Promise<ChildProcess> {
    const program = joinWith(view);
    const errors = textOf(program.stderr!);
    await eventually('the program has joined', () => (/joined handler/.test(errors()) ? true : undefined));
    return program;
  }

  const session = ({ session_id }: SessionView) => system.coordinator.session(session_id);

  const reaches = (view: SessionView, sequence: number) =>
    eventually(`sequence ${sequence} at the sink`, async () =>
      sinkSequence(await session(view)) >= sequence ? true : undefined,
    );

  /** Some more packets come out. */
  const advances = async (view: SessionView) => reaches(view, sinkSequence(await session(view)) + 3);

  const skin = async (view: SessionView) => handlersOf(await session(view)).find((one) => one.handler_id === SKIN)!;

  const stopped = (view: SessionView) =>
    awaitSession(system.coordinator, view.session_id, ({ observed }) => observed === 'stopped');

  function expectWhole(view: SessionView, count: number): void {
    const lines = system.journal(view.session_id);
    expect(lines.map(({ sequence }) => sequence)).toEqual(Array.from({ length: count }, (_, index) => index));
    expect(lines.filter(({ boxes }) => (boxes?.length ?? 0) === 0)).toEqual([]);
  }

  test('all: the program and its host are killed mid-stream, and every sequence comes out once', async () => {
    // Round and round: however long a busy machine takes to start programs, pictures are left.
    const view = await start('joined', 12, { params: { capture: { fps: 8, loop: true } } });
    for (const _ of ['first', 'second']) {
      const program = await joined(view);
      await advances(view);
      program.kill('SIGKILL');
      await eventually('the session says that it waits', async () =>
        /waiting for a program to join at http.*; the last one left/.test((await skin(view)).note ?? '')
          ? true
          : undefined,
      );
    }
    const last = await joined(view);
    const errors = textOf(last.stderr!);
    const ended = exit(last);
    const { pid } = await skin(view);
    process.kill(pid!, 'SIGKILL');
    await eventually('the program has joined again', () => (/joined handler 2/.test(errors()) ? true : undefined));
    await advances(view);
    await system.coordinator.stopSession(view.session_id);
    await stopped(view);
    expectWhole(view, system.journal(view.session_id).length);
    expect((await ended).code).toBe(0);
  }, 120_000);

  test('all: several programs share the work, and the order stays', async () => {
    const view = await start('shared', 24);
    const three = [joinWith(view), joinWith(view), joinWith(view)];
    const ended = three.slice(1).map(exit);
    await reaches(view, 5);
    three[0]!.kill('SIGKILL');
    await stopped(view);
    expectWhole(view, 24);
    for (const { code, errors } of await Promise.all(ended)) {
      expect([code, errors]).toEqual([0, expect.stringContaining('the stream has ended at sequence 24')]);
    }
  }, 120_000);

  test('latest: without a program packets end with the reason, and flow when one joins', async () => {
    const view = await start('joined', 12, { delivery: 'latest', params: { capture: { loop: true, fps: 10 } } });
    await reaches(view, 25);
    expect(system.journal(view.session_id).every((line) => line.dropped === 'queue' && line.handler_id === SKIN)).toBe(
      true,
    );
    expect((await skin(view)).stats!.dropped.queue).toBeGreaterThan(10);
    joinWith(view);
    await eventually('boxes at the sink', () =>
      system.journal(view.session_id).some(({ boxes }) => boxes?.[0]?.label === 'skin') ? true : undefined,
    );
    await system.coordinator.stopSession(view.session_id);
    await stopped(view);
    const lines = system.journal(view.session_id);
    expect(lines.map(({ sequence }) => sequence)).toEqual(lines.map((_, index) => index));
  }, 120_000);

  test('a tap reads what the program made, and holds up nothing', async () => {
    const view = await start('joined', 20);
    const tap = run('tap.py', view, SKIN);
    const [lines, errors] = [textOf(tap.stdout!), textOf(tap.stderr!)];
    const tapEnded = exit(tap);
    await eventually('the tap is there', () => (/reading output 0/.test(errors()) ? true : undefined));
    joinWith(view);
    await stopped(view);
    expectWhole(view, 20);
    expect((await tapEnded).code, errors()).toBe(0);
    const seen = lines().trim().split('\n');
    expect(seen).toHaveLength(21);
    expect(seen[0]).toMatch(/^0 skin \d+,\d+ \d+x\d+/);
    expect(seen[20]).toBe('20 end');
  }, 120_000);

  test('a program that the node starts itself works, and ends with its session', async () => {
    const view = await start('started', 10);
    await stopped(view);
    expectWhole(view, 10);
    await eventually('no program is left', () => {
      const left = execFileSync('ps', ['-eo', 'pid,args'], { encoding: 'utf8' }).split('\n');
      return left.some((line) => line.includes(PROGRAM)) ? undefined : true;
    });
  }, 120_000);

  test('a command that the node does not allow is refused by name', async () => {
    const source = system.pictures('forbidden', 1);
    const { session_id } = await system.coordinator.createSession({
      ...{ service: 'forbidden', source, source_node: 0 },
      params: { capture: { fps: 2 } },
    });
    const failed = await eventually('the session fails', async () => {
      const view = await system.coordinator.session(session_id!);
      return view.observed === 'failed' ? view : undefined;
    });
    expect(failed.problem).toMatch(/command python3 -c pass is not one that this node allows/);
  });

  test('a program that cannot join says why', async () => {
    const view = await start('joined', 1);
    const wrong = await exit(joinWith(view, 1));
    expect(wrong).toMatchObject({ code: 1, errors: expect.stringMatching(/status 400: handler 1 takes no program/) });
    const absent = await exit(joinWith({ ...view, session_id: 4242 }));
    expect(absent).toMatchObject({
      code: 1,
      errors: expect.stringMatching(/status 404: no session 4242 on this node/),
    });
    const program = joinWith(view);
    expect((await exit(program)).code).toBe(0);
    expect(isAlive(program.pid!)).toBe(false);
    await stopped(view);
  });
});
