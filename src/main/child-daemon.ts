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
  readonly #child: ChildProcess;
  readonly #exited: Promise<void>;
  readonly #options: ChildDaemonOptions;

  constructor(options: ChildDaemonOptions) {
    this.name = options.name;
    this.#options = options;
    const log = openSync(options.logFile, 'a');
    this.#child = spawn(process.execPath, [cliEntry(), ...options.args, '--until-stdin-ends'], {
      stdio: ['pipe', log, log],
      detached: true,
      env: { ...process.env, TMPDIR: options.tmpDir },
    });
    closeSync(log);
    this.#child.stdin?.on('error', () => {});
    this.#exited = new Promise((resolve) => {
      this.#child.once('exit', () => resolve());
      this.#child.once('error', () => resolve());
    });
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

/** `count` different ports of the loopback interface that are free now. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer();
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject);
        server.listen(0, '127.0.0.1', resolve);
      });
      return server;
    }),
  );
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}
