/**
 * The two ends of a link in processes of their own, killed with -9 while packets flow and the path between them breaks; and
 * in network namespaces of their own, whose cable is pulled. The sink's journal has every sequence exactly once.
 * ORCHESTRATOR_FAULT_PACKETS=1000000 for the long form, by hand.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, readSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { afterEach, expect, test, vi } from 'vitest';
import type { Delivery } from '../src/contracts/packet.js';
import type { SocketAddress } from '../src/links/handshake.js';
import { Shaper } from '../src/links/shaper.js';
import { freePorts } from '../src/main/child-daemon.js';
import { seededRandom } from '../src/std/prng.js';

const ENTRY = fileURLToPath(new URL('./support/link-end.mjs', import.meta.url));
const PACKETS = Number(process.env.ORCHESTRATOR_FAULT_PACKETS ?? 6000);
/** One kill in so many packets, as a mean. */
const PACKETS_PER_KILL = Math.max(600, PACKETS / 100);
const BYTES = 400;
/** About what a packet takes in the journal. */
const LINE_BYTES = 15;
/** Bound of each wait without progress, on a machine that is busy with other tests. */
const WAIT_MS = 60_000;
vi.setConfig({ testTimeout: 10 * WAIT_MS });

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

interface EndState {
  readonly connected: boolean;
  readonly problem?: string | null;
  readonly settled?: number;
}

interface EndOptions {
  readonly role: 'source' | 'sink';
  readonly delivery: Delivery;
  readonly dir: string;
  readonly seed: number;
  readonly packets: number;
  readonly listen?: object;
  readonly address?: SocketAddress;
  readonly keepAlive?: { readonly pingMs: number; readonly deadMs: number };
}

/** A process that is started again whenever it was killed. */
class End {
  state: EndState = { connected: false };
  readonly #options: EndOptions;
  readonly #namespace: string | null;
  #child: ChildProcess;
  /** It ended although nobody killed it. */
  #ended: Error | null = null;
  #isKilled = false;

  constructor(options: EndOptions, namespace: string | null = null) {
    this.#options = options;
    this.#namespace = namespace;
    this.#child = this.#start();
    closers.push(() => this.kill());
  }

  /** What it said last, and how it is. */
  get told(): object {
    const { pid, exitCode, signalCode } = this.#child;
    return { ...this.state, pid, exitCode, signalCode };
  }

  async killAndRestart(): Promise<void> {
    await this.kill();
    this.#child = this.#start();
  }

  /** Throws when it ended by itself: nobody would start it again. */
  check(): void {
    if (this.#ended !== null) throw this.#ended;
  }

  async kill(): Promise<void> {
    this.#isKilled = true;
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exited = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#child.kill('SIGKILL');
    await exited;
  }

  #start(): ChildProcess {
    const node = [process.execPath, ENTRY, JSON.stringify({ bytes: BYTES, ...this.#options })];
    const [command, ...args] = this.#namespace === null ? node : ['ip', 'netns', 'exec', this.#namespace, ...node];
    const child = spawn(command!, args, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    this.#isKilled = false;
    child.on('exit', (code, signal) => {
      if (this.#isKilled) return;
      this.#ended = new Error(`the ${this.#options.role} (${child.pid}) ended by itself: ${signal ?? `code ${code}`}`);
    });
    child.on('message', (state) => {
      this.state = state as EndState;
    });
    return child;
  }
}

/** The sink's record of a link. */
class Journal {
  readonly #file: string;

  constructor(dir: string) {
    this.#file = join(dir, 'journal');
    writeFileSync(this.#file, '');
  }

  /** Grows with every sequence. */
  get bytes(): number {
    return statSync(this.#file).size;
  }

  get ended(): boolean {
    const end = Buffer.alloc(4);
    const file = openSync(this.#file, 'r');
    readSync(file, end, 0, end.length, Math.max(0, this.bytes - end.length));
    closeSync(file);
    return end.toString() === 'end\n';
  }

  lines(): string[] {
    return readFileSync(this.#file, 'utf8').trimEnd().split('\n');
  }

  /** Resolves when `bytes` are written, or it has ended; rejects when nothing is for WAIT_MS, or an end is gone. */
  async reaches(bytes: number, ends: readonly End[] = []): Promise<void> {
    while (this.bytes < bytes && !this.ended) {
      const before = this.bytes;
      const deadlineMs = performance.now() + WAIT_MS;
      while (this.bytes === before) {
        for (const end of ends) end.check();
        if (performance.now() > deadlineMs) throw new Error(`no progress for ${WAIT_MS} ms`);
        await sleep(2);
      }
    }
  }

  /** Every sequence once and in order; how often each outcome. */
  outcomes(): Record<string, number> {
    const lines = this.lines();
    expect(lines.pop()).toBe('end');
    const counts: Record<string, number> = {};
    lines.forEach((line, index) => {
      const [sequence, outcome] = line.split(' ');
      if (Number(sequence) !== index) throw new Error(`line ${index} is "${line}"`);
      counts[outcome!] = (counts[outcome!] ?? 0) + 1;
    });
    return counts;
  }
}

function directory(): string {
  const dir = mkdtempSync(join(tmpdir(), 'faults-'));
  closers.push(() => rmSync(dir, { recursive: true }));
  return dir;
}

interface Pair {
  readonly ends: readonly [End, End];
  readonly journal: Journal;
  readonly shaper: Shaper;
}

async function startPair(delivery: Delivery, transport: 'tcp' | 'unix', seed: number): Promise<Pair> {
  const dir = directory();
  const random = seededRandom(seed);
  const shaper = new Shaper({ random, cutAfterBytes: () => ({ in: Infinity, out: random() * 2e6 }) });
  closers.push(() => shaper.close());
  const [port] = await freePorts(1);
  const far = join(dir, 'far');
  const listen = transport === 'tcp' ? { host: '127.0.0.1', port } : { path: far };
  const target: SocketAddress =
    transport === 'tcp' ? { kind: 'http', url: `http://127.0.0.1:${port}` } : { kind: 'unix', path: far };
  const address = await shaper.forward(target, transport === 'tcp' ? {} : { path: join(dir, 'near') });
  const common = { delivery, dir, seed, packets: PACKETS };
  const ends = [new End({ ...common, role: 'source', listen }), new End({ ...common, role: 'sink', address })] as const;
  return { ends, journal: new Journal(dir), shaper };
}

test.each<[Delivery, 'tcp' | 'unix']>([
  ['all', 'tcp'],
  ['all', 'unix'],
  ['latest', 'tcp'],
  ['latest', 'unix'],
])(
  '%s over %s: either process is killed with -9 at random, and every sequence ends exactly once',
  async (delivery, transport) => {
    const seed = fc.sample(fc.integer({ min: 0 }), 1)[0]!;
    const random = seededRandom(seed);
    const { ends, journal, shaper } = await startPair(delivery, transport, seed);
    let kills = 0;
    while (!journal.ended) {
      await journal.reaches(journal.bytes + random() * 2 * PACKETS_PER_KILL * LINE_BYTES, ends).catch((error) => {
        const state = JSON.stringify(ends.map((end) => end.told));
        const path = `${shaper.connections} connections, ${shaper.open} open, ${shaper.heldBytes} bytes held`;
        throw new Error(`${error.message}; seed ${seed}, after ${kills} kills, ${path}: ${state}`);
      });
      if (journal.ended) break;
      const victims = random() < 0.2 ? ends : [ends[random() < 0.5 ? 0 : 1]];
      await Promise.all(victims.map((end) => end.killAndRestart()));
      kills += victims.length;
    }
    const counts = journal.outcomes();
    console.log(
      `${delivery} over ${transport}: seed ${seed}, ${kills} kills, ${shaper.connections} connections, ${JSON.stringify(counts)}`,
    );
    expect(kills, `seed ${seed}`).toBeGreaterThan(0);
    if (delivery === 'all') expect(counts, `seed ${seed}`).toEqual({ delivered: PACKETS });
    else expect(sum(counts, ['delivered', 'queue', 'failover']), `seed ${seed}`).toBe(PACKETS);
  },
);

function sum(counts: Readonly<Record<string, number>>, outcomes: readonly string[]): number {
  return outcomes.reduce((total, outcome) => total + (counts[outcome] ?? 0), 0);
}

/** Two namespaces with a cable between them; null, and said, where they cannot be made (in CI that fails). */
function namespaces(): { names: readonly [string, string]; cable(state: 'up' | 'down'): void } | null {
  const names = [`orc${process.pid}x`, `orc${process.pid}y`] as const;
  closers.push(() => {
    for (const name of names) spawnSync('ip', ['netns', 'delete', name]);
  });
  try {
    for (const name of names) ip('netns', 'add', name);
  } catch (error) {
    if (process.env.CI !== undefined) throw error;
    console.warn(`not run: network namespaces need root and iproute2 (${(error as Error).message})`);
    return null;
  }
  ip('-n', names[0], 'link', 'add', 'cable', 'type', 'veth', 'peer', 'name', 'cable', 'netns', names[1]);
  names.forEach((name, index) => {
    ip('-n', name, 'addr', 'add', `10.202.0.${index + 1}/24`, 'dev', 'cable');
    ip('-n', name, 'link', 'set', 'cable', 'up');
  });
  return { names, cable: (state) => ip('-n', names[1], 'link', 'set', 'cable', state) };
}

function ip(...args: string[]): void {
  const { status, stderr, error } = spawnSync('ip', args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`ip ${args.join(' ')}: ${error?.message ?? stderr.trim()}`);
}

test('a cable that is pulled: both ends notice by the silence, and go on when it is back', async () => {
  const spaces = namespaces();
  if (spaces === null) return;
  const dir = directory();
  const [port] = await freePorts(1);
  const common = { delivery: 'all', dir, seed: 1, packets: 200_000, keepAlive: { pingMs: 50, deadMs: 500 } } as const;
  const source = new End({ ...common, role: 'source', listen: { host: '10.202.0.1', port } }, spaces.names[0]);
  const address = { kind: 'http', url: `http://10.202.0.1:${port}` } as const;
  const sink = new End({ ...common, role: 'sink', address }, spaces.names[1]);
  const journal = new Journal(dir);
  for (let pull = 0; pull < 2; pull++) {
    await journal.reaches(journal.bytes + 1000 * LINE_BYTES);
    spaces.cable('down');
    const states = () => [source.state.connected, sink.state.connected];
    await vi.waitFor(() => expect(states()).toEqual([false, false]), WAIT_MS);
    expect(sink.state.problem).toMatch(/no word from the peer|answered in time|ENETUNREACH|EHOSTUNREACH/);
    expect(journal.ended).toBe(false);
    spaces.cable('up');
    await vi.waitFor(() => expect(states()).toEqual([true, true]), WAIT_MS);
  }
  await source.kill();
  const lines = journal.lines();
  expect(lines).toEqual(lines.map((_, sequence) => `${sequence} delivered`));
});
