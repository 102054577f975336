/**
 * Two network namespaces joined by an emulated path (lossy-path.py), in which processes are started. Kernels without netem
 * have TUN devices all the same. Invariant: whatever way the bench ends, the namespaces and processes end with it.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { fileURLToPath } from 'node:url';

export interface PathShape {
  /** One way, ms. */
  readonly delayMs: number;
  readonly mbit: number;
  /** Probability, of each packet in each direction. */
  readonly loss: number;
  /** TCP congestion control of both ends. */
  readonly control: string;
  readonly seed: number;
}

const SUBNET = '10.201.0.0/24';

/** A drop-tail queue of this holds 40 ms at 100 Mbit/s, bytes. */
const QUEUE_BYTES = 512 * 1024;

export const SIDES = ['a', 'b'] as const;
export type Side = (typeof SIDES)[number];

/** Why such a path cannot be made here, or null. */
export function whatIsMissing(): string | null {
  const missing: string[] = [];
  if (process.getuid?.() !== 0) missing.push('root');
  try {
    accessSync('/dev/net/tun', constants.R_OK | constants.W_OK);
  } catch {
    missing.push('/dev/net/tun');
  }
  for (const program of ['ip', 'python3']) {
    if (spawnSync(program, [program === 'ip' ? '-V' : '--version']).status !== 0) missing.push(program);
  }
  if (missing.length > 0) return missing.join(', ');
  const name = `orc${process.pid}probe`;
  const made = spawnSync('ip', ['netns', 'add', name]).status === 0;
  if (made) spawnSync('ip', ['netns', 'delete', name]);
  return made ? null : 'the right to make network namespaces';
}

/** Makes paths, and removes what is left of them when the process ends. */
export class LossyPaths {
  readonly #open = new Set<LossyPath>();
  readonly #atExit = () => {
    for (const path of this.#open) path.remove();
  };
  readonly #atSignal = () => process.exit(130);
  #made = 0;

  constructor() {
    process.once('exit', this.#atExit);
    for (const signal of SIGNALS) process.once(signal, this.#atSignal);
  }

  /** The path is there for `use`, and gone when it is done, however it ends. */
  async with<T>(shape: PathShape, use: (path: LossyPath) => Promise<T>): Promise<T> {
    const path = new LossyPath(`orc${process.pid}n${this.#made++}`);
    this.#open.add(path);
    try {
      await path.build(shape);
      return await use(path);
    } finally {
      await path.close();
      this.#open.delete(path);
    }
  }

  close(): void {
    process.removeListener('exit', this.#atExit);
    for (const signal of SIGNALS) process.removeListener(signal, this.#atSignal);
  }
}

const SIGNALS = ['SIGINT', 'SIGTERM'] as const;

export class LossyPath {
  readonly #children: ChildProcess[] = [];
  /** Where each side listens for the other. */
  readonly addresses: Readonly<Record<Side, string>> = { a: '10.201.0.1', b: '10.201.0.2' };

  /** `name`: with a letter behind it that of a network device, at most 15 characters. */
  constructor(readonly name: string) {}

  /** Node with an entry beside this file, inside the side's namespace; talks by IPC. */
  start(side: Side, entry: string, args: readonly string[]): ChildProcess {
    const file = fileURLToPath(new URL(entry, import.meta.url));
    const command = ['netns', 'exec', this.#nameOf(side), process.execPath, file, ...args];
    const child = spawn('ip', command, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    this.#children.push(child);
    return child;
  }

  async close(): Promise<void> {
    const ended = this.#children.map(
      (child) =>
        new Promise<void>((resolve) => {
          if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) resolve();
          else child.once('exit', () => resolve());
        }),
    );
    this.remove();
    await Promise.all(ended);
  }

  async build({ delayMs, mbit, loss, control, seed }: PathShape): Promise<void> {
    for (const side of SIDES) ip('netns', 'add', this.#nameOf(side));
    const script = fileURLToPath(new URL('../../bench/lossy-path.py', import.meta.url));
    const words = [delayMs, mbit, loss, QUEUE_BYTES, seed].map(String);
    const forwarder = spawn('python3', [script, this.#nameOf('a'), this.#nameOf('b'), ...words], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.#children.push(forwarder);
    await new Promise<void>((resolve, reject) => {
      forwarder.stdout.once('data', () => resolve());
      forwarder.once('error', reject);
      forwarder.once('exit', () => reject(new Error('the forwarder ended before it was ready')));
    });
    for (const side of SIDES) this.#configure(side, control);
  }

  #configure(side: Side, control: string): void {
    const name = this.#nameOf(side);
    ip('link', 'set', name, 'netns', name);
    ip('-n', name, 'addr', 'add', `${this.addresses[side]}/32`, 'dev', name);
    ip('-n', name, 'link', 'set', name, 'up');
    // Of the route and not of the namespace: a namespace may only choose among those that the machine allows everybody.
    ip('-n', name, 'route', 'replace', SUBNET, 'dev', name, 'congctl', control);
  }

  /** Of the side's namespace, and of its device. */
  #nameOf(side: Side): string {
    return `${this.name}${side}`;
  }

  /** At once, as in an exit handler. */
  remove(): void {
    for (const child of this.#children) child.kill('SIGKILL');
    for (const side of SIDES) spawnSync('ip', ['netns', 'delete', this.#nameOf(side)]);
  }
}

function ip(...args: string[]): void {
  const { status, stderr } = spawnSync('ip', args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`ip ${args.join(' ')}: ${stderr.trim() || `exit code ${status}`}`);
}
