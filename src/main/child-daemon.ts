/**
 * A daemon of a local cluster as a subprocess. Its log goes to a file; a daemon that ends before it answers is reported
 * with the last lines of it. Each has a process group of its own, so that Ctrl-C reaches only the parent, which then
 * closes in order; its stdin is a pipe from the parent, so that it ends when the parent does.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { OrchestratorError } from '../contracts/errors.js';
import { cliEntry } from './package-facts.js';

export interface ChildDaemonOptions {
  readonly name: string;
  /** Arguments of the command line: `node`, CONF ... */
  readonly args: readonly string[];
  /** Words before the command, of a program that becomes it (`ip netns exec NAME`); none when absent. */
  readonly launcher?: readonly string[] | undefined;
  readonly logFile: string;
  /** For sockets; a daemon that is killed leaves some there. */
  readonly tmpDir: string;
  /** Resolves once the daemon answers; asked again and again until then. */
  readonly probe: () => Promise<unknown>;
}

/** Time until a daemon answers after its start, ms: on two busy cores Node and its modules take up to 3 s. */
const START_TIMEOUT_MS = 30_000;
const PROBE_PERIOD_MS = 100;
/** From SIGTERM to SIGKILL, ms; longer than a daemon's own bound. */
const STOP_TIMEOUT_MS = 12_000;
const LOG_TAIL_LINES = 5;

export class ChildDaemon {
  readonly name: string;
  readonly #options: ChildDaemonOptions;
  #child: ChildProcess;
  #exited: Promise<void>;

  constructor(options: ChildDaemonOptions) {
    this.name = options.name;
    this.#options = options;
    this.#child = spawnDaemon(options);
    this.#exited = exitOf(this.#child);
  }

  get pid(): number {
    return this.#child.pid ?? -1;
  }

  get running(): boolean {
    return this.#child.pid !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  async answers(): Promise<void> {
    const deadline = performance.now() + START_TIMEOUT_MS;
    for (;;) {
      if (!this.running) throw this.#startError('ended');
      try {
        await this.#options.probe();
        return;
      } catch {
        if (performance.now() > deadline) throw this.#startError(`did not answer within ${START_TIMEOUT_MS} ms`);
        await sleep(PROBE_PERIOD_MS);
      }
    }
  }

  /** The agent only, at once; handler hosts notice by themselves. */
  kill(): void {
    this.#child.kill('SIGKILL');
  }

  /** Starts it anew, with the files that it left, once the last one has ended; resolves when it answers. */
  async restart(): Promise<void> {
    await this.#exited;
    this.#child = spawnDaemon(this.#options);
    this.#exited = exitOf(this.#child);
    await this.answers();
  }

  async stop(): Promise<void> {
    if (this.running) this.#child.kill('SIGTERM');
    const timer = setTimeout(() => this.killGroup(), STOP_TIMEOUT_MS);
    await this.#exited;
    clearTimeout(timer);
    this.killGroup();
  }

  /** Whatever is left of it and its subprocesses. Safe in an exit handler. */
  killGroup(): void {
    if (this.#child.pid === undefined) return;
    try {
      process.kill(-this.#child.pid, 'SIGKILL');
    } catch {
      // Nothing is left of the group.
    }
  }

  #startError(what: string): OrchestratorError {
    const tail = lastLines(this.#options.logFile);
    const message = `${this.name} ${what} while starting; log ${this.#options.logFile}:\n${tail.join('\n')}`;
    return new OrchestratorError('SERVICE_UNREACHABLE', message, { log: this.#options.logFile });
  }
}

function spawnDaemon({ args, launcher = [], logFile, tmpDir }: ChildDaemonOptions): ChildProcess {
  const [command, ...words] = [...launcher, process.execPath, cliEntry(), ...args, '--until-stdin-ends'];
  const log = openSync(logFile, 'a');
  const child = spawn(command!, words, {
    stdio: ['pipe', log, log],
    detached: true,
    env: { ...process.env, TMPDIR: tmpDir },
  });
  closeSync(log);
  child.stdin?.on('error', () => {});
  return child;
}

function exitOf(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    child.once('exit', () => resolve());
    child.once('error', () => resolve());
  });
}

function lastLines(file: string): string[] {
  const lines = readFileSync(file, 'utf8').trimEnd().split('\n').slice(-LOG_TAIL_LINES);
  return lines.map((line) => `  ${readable(line)}`);
}

function readable(line: string): string {
  try {
    const { msg } = JSON.parse(line) as { msg?: unknown };
    return typeof msg === 'string' ? msg : line;
  } catch {
    return line;
  }
}

/** `count` different ports that are free now at an address of this machine. */
export async function freePorts(count: number, address = '127.0.0.1'): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer();
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject);
        server.listen(0, address, resolve);
      });
      return server;
    }),
  );
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}
