/**
 * A chain of handlers over handler hosts, each a process of its own, as a node agent runs them: configured and started
 * over IPC, joined by links over the hosts' Unix sockets. The last handler is the counting sink.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Delivery } from '#src/contracts/packet.js';
import type { FromHost, HostConfig, HostHandler, HostLink, ToHost } from '#src/handler-kit/host-protocol.js';
import type { Mark } from './handlers.js';

const ENTRY = fileURLToPath(new URL('./host.js', import.meta.url));
const SESSION = 1;

export interface ChainHandler {
  readonly type: number;
  readonly params?: Record<string, unknown>;
}

export interface ChainOptions {
  /** The handlers of each host, in the order of the chain. */
  readonly hosts: readonly (readonly ChainHandler[])[];
  readonly delivery: Delivery;
  /** Directory of the source's pictures. */
  readonly pictures?: string;
}

export class HostedChain {
  readonly #dir = mkdtempSync(join(tmpdir(), 'orchestrator-bench-'));
  readonly #children: ChildProcess[] = [];
  readonly #options: ChainOptions;

  constructor(options: ChainOptions) {
    this.#options = options;
  }

  async start(): Promise<void> {
    const configs = this.#configs();
    for (const _ of configs)
      this.#children.push(fork(ENTRY, [], { serialization: 'advanced', stdio: ['ignore', 'ignore', 'ignore', 'ipc'] }));
    await Promise.all(
      this.#children.map((child, index) => this.#ask(child, { type: 'configure', config: configs[index]! }, 'ready')),
    );
    for (const child of this.#children) child.send({ type: 'run' } satisfies ToHost);
  }

  /** What the sink has counted since the last call. */
  mark(): Promise<Mark> {
    const last = this.#options.hosts.length - 1;
    const path = `/v1/sessions/${SESSION}/handlers/${this.#options.hosts.flat().length}/pages/mark`;
    return new Promise((resolve, reject) => {
      const asked = request({ socketPath: this.#socketPath(last), path, agent: false }, async (response) => {
        let body = '';
        for await (const chunk of response) body += chunk;
        if (response.statusCode === 200) resolve(JSON.parse(body) as Mark);
        else reject(new Error(`${path} answered ${response.statusCode}: ${body}`));
      });
      asked.on('error', reject).end();
    });
  }

  async stop(): Promise<void> {
    await Promise.all(
      this.#children.map(async (child) => {
        const exited = new Promise((resolve) => child.once('exit', resolve));
        if (child.exitCode !== null) return;
        child.send({ type: 'stop' } satisfies ToHost);
        await Promise.race([exited, sleep(STOP_MS)]);
        child.kill('SIGKILL');
      }),
    );
    rmSync(this.#dir, { recursive: true, force: true });
  }

  #ask(child: ChildProcess, message: ToHost, answer: FromHost['type']): Promise<void> {
    return new Promise((resolve, reject) => {
      child.on('message', (given: FromHost) => {
        if (given.type === answer) resolve();
        if (given.type === 'failed') reject(new Error(given.problem.detail));
      });
      child.once('exit', (code) => reject(new Error(`a handler host ended with ${code}`)));
      child.send(message);
    });
  }

  #configs(): HostConfig[] {
    let id = 0;
    const placed = this.#options.hosts.map((handlers) =>
      handlers.map(({ type, params = {} }): HostHandler => {
        id += 1;
        const name = `h${id}`;
        return { handler_id: id, handler_name: name, handler_type: type, params, resume_after: -1, accounted: -1 };
      }),
    );
    const hostOf = (handler: number) => placed.findIndex((some) => some.some((one) => one.handler_id === handler));
    return placed.map((handlers, host) => ({
      ...{ session_id: SESSION, node_id: 1, generation: 1, delivery: this.#options.delivery, latency_ms_max: null },
      handlers,
      links: this.#links(host, id, hostOf),
      ...{ threads: 1, speed: 1, cacheDir: this.#dir, outputDir: join(this.#dir, 'out'), token: null },
      ...{ nodeUrl: 'http://127.0.0.1', commands: [], environment: {} },
      allow: this.#options.pictures === undefined ? [] : [this.#options.pictures],
      socketPath: this.#socketPath(host),
    }));
  }

  /** Those that touch `host`; the receiving end dials the other host's socket. */
  #links(host: number, handlers: number, hostOf: (handler: number) => number): HostLink[] {
    return Array.from({ length: handlers - 1 }, (_, index) => index + 1)
      .filter((source) => hostOf(source) === host || hostOf(source + 1) === host)
      .map((source) => ({
        ...{ source_handler: source, source_output: 0, target_handler: source + 1, target_input: 0 },
        ...{ source_node: 1, target_node: 1 },
        ...(hostOf(source) === host ? {} : { dial: { kind: 'unix', path: this.#socketPath(hostOf(source)) } as const }),
      }));
  }

  #socketPath(host: number): string {
    return join(this.#dir, `${host}.sock`);
  }
}

/** How long hosts get to stop, ms. */
const STOP_MS = 3000;
