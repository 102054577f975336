/** The prober alone, with a scripted node and a clock in the test's hands. */
import { afterEach, describe, expect, it } from 'vitest';
import { OrchestratorError } from '../contracts/errors.js';
import type { Heartbeat, NodeFile } from '../contracts/node.js';
import { until } from './cluster.testing.js';
import { NodeProber } from './node-prober.js';
import { DEFAULT_COORDINATOR_BOUNDS } from './options.js';

const HEARTBEAT: Heartbeat = {
  facts: {
    ...{ node_id: 1, node_name: 'edge', version: '', hostname: '', cpu_model: '', cpu_cores: 1, mem_mb: 1 },
    ...{ mem_free_mb: 1, speed: 1, gpus: [], labels: [], handler_types: [] },
  },
  ...{ timestamp: 0, clock_correction_ms: 0, epoch: 0, sessions: [] },
};

const FILE: NodeFile = {
  ...{ node_id: 1, node_name: 'edge', node_type: 'edge', node_addr: 'x', node_port: 1, labels: [] },
  ...{ rtt_ms: 1, bandwidth_mbit: 1 },
};

const failure = (cause: string) => new OrchestratorError('NODE_UNREACHABLE', `cannot be reached (${cause})`, { cause });

/** What happens at each question: an answer, or a failure after so much time. */
type Step = 'ok' | { readonly cause: string; readonly afterMs: number };

let prober: NodeProber | undefined;
afterEach(() => prober?.close());

/** Plays the steps and then answers well; tells what changed, in order. */
async function play(steps: readonly Step[], unknownGraceMs = 0, machineIsThere = false) {
  let nowMs = 0;
  let asked = 0;
  const changes: string[] = [];
  prober = new NodeProber({
    file: FILE,
    client: {
      async heartbeat() {
        await new Promise((resolve) => setImmediate(resolve));
        const step = steps[asked++] ?? 'ok';
        if (step === 'ok') return HEARTBEAT;
        nowMs += step.afterMs;
        throw failure(step.cause);
      },
      reachable: async () => machineIsThere,
    },
    bounds: { ...DEFAULT_COORDINATOR_BOUNDS, heartbeatPeriodMs: 0, greetingMs: 0, unknownGraceMs },
    clock: { now: () => nowMs / 1000, monotonicMs: () => nowMs },
    epoch: () => null,
    change: (kind) => {
      if (kind !== 'heartbeat') changes.push(kind === 'lost' ? `lost: ${prober!.status.why}` : kind);
    },
  });
  await prober.start();
  await until('every step', async () => asked > steps.length + 1);
  return { changes, status: prober.status };
}

const refused: Step = { cause: 'ECONNREFUSED', afterMs: 0 };
const silent: Step = { cause: 'timeout', afterMs: 1_000 };
/** The answer may have been there in time: this process looked late. */
const stalled: Step = { cause: 'timeout', afterMs: 3_000 };

describe('NodeProber', () => {
  it.each<[string, Step[], string[]]>([
    ['one refused question is asked again at once', ['ok', refused, 'ok'], ['up']],
    ['two in a row are a loss', ['ok', refused, refused], ['up', 'lost: refuses connections', 'up']],
    [
      'a reset and a refusal are a loss',
      ['ok', { cause: 'ECONNRESET', afterMs: 0 }, refused],
      ['up', 'lost: refuses connections', 'up'],
    ],
    ['one silence is a loss', ['ok', silent], ['up', 'lost: silent 1.0 s', 'up']],
    ['a stall of this process is not', ['ok', stalled, stalled, 'ok', stalled], ['up']],
    ['unless it goes on', ['ok', stalled, stalled, stalled, stalled], ['up', 'lost: silent 12.0 s', 'up']],
    [
      'nonsense twice is a loss',
      ['ok', { cause: 'answer', afterMs: 0 }, { cause: 'answer', afterMs: 0 }],
      ['up', 'lost: gives no valid answer', 'up'],
    ],
    ['a node that was never there is missing, not lost', [refused, refused, refused, refused], ['missing', 'up']],
  ])('%s', async (_name, steps, changes) => {
    expect((await play(steps)).changes).toEqual(changes);
  });

  it('waits for an agent that is silent while its machine takes connections, but not for ever', async () => {
    expect((await play(['ok', silent, silent, 'ok'], 0, true)).changes).toEqual(['up']);
    expect((await play(['ok', silent, silent, silent], 0, true)).changes).toEqual(['up', 'lost: silent 3.0 s', 'up']);
  });

  it('gives a node that was never there its grace', async () => {
    expect((await play([refused, refused, silent, silent], 5_000)).changes).toEqual(['up']);
  });

  it('keeps what a PUT answered over a heartbeat that was asked for before it', async () => {
    let nowMs = 0;
    const questions: ((heartbeat: Heartbeat) => void)[] = [];
    const made = new NodeProber({
      file: FILE,
      client: { heartbeat: () => new Promise((resolve) => questions.push(resolve)), reachable: async () => false },
      bounds: { ...DEFAULT_COORDINATOR_BOUNDS, heartbeatPeriodMs: 0, greetingMs: 0 },
      clock: { now: () => nowMs / 1000, monotonicMs: () => nowMs },
      epoch: () => null,
      change() {},
    });
    prober = made;
    const started = made.start();
    nowMs = 10;
    made.note({ session_id: 3, epoch: 1, generation: 1, desired: 'ready', state: 'ready', handlers: [] });
    nowMs = 20;
    questions[0]!(HEARTBEAT);
    await started;
    expect(made.status.sessions.get(3)?.generation).toBe(1);
    await until('the next question', async () => questions.length === 2);
    questions[1]!(HEARTBEAT);
    await until('its answer', async () => made.status.sessions.size === 0);
  });

  it('is not lost when its machine takes the second of two connections', async () => {
    let taken = [true];
    let looks = 0;
    let answering = true;
    const changes: string[] = [];
    prober = new NodeProber({
      file: FILE,
      client: {
        heartbeat: () => (answering ? Promise.resolve(HEARTBEAT) : new Promise(() => {})),
        reachable: async () => {
          looks += 1;
          return taken.shift() ?? false;
        },
      },
      bounds: { ...DEFAULT_COORDINATOR_BOUNDS, heartbeatPeriodMs: 60_000, greetingMs: 0, suspectMs: 1 },
      clock: { now: () => 0, monotonicMs: () => 0 },
      epoch: () => null,
      change: (kind) => changes.push(kind),
    });
    await prober.start();
    answering = false;
    taken = [false, true];
    prober.suspect();
    await until('the second look', async () => looks === 2);
    expect(changes).toEqual(['up', 'heartbeat']);
    prober.close();
  });

  it('is asked at once when a connection has closed, and lost before the time-out when its machine is gone', async () => {
    let asked = 0;
    const changes: string[] = [];
    prober = new NodeProber({
      file: FILE,
      client: {
        heartbeat: () => {
          asked += 1;
          return asked === 1 ? Promise.resolve(HEARTBEAT) : new Promise(() => {});
        },
        reachable: async () => false,
      },
      bounds: { ...DEFAULT_COORDINATOR_BOUNDS, heartbeatPeriodMs: 60_000, greetingMs: 0, suspectMs: 1 },
      clock: { now: () => 0, monotonicMs: () => 0 },
      epoch: () => null,
      change: (kind) => changes.push(kind),
    });
    await prober.start();
    prober.suspect();
    await until('lost', async () => changes.includes('lost'));
    expect(asked).toBe(2);
  });
});
