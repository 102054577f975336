/**
 * A node agent without handler hosts: the real API over loopback, its state in the hands of a test. Handlers are ready
 * and run as soon as they are told, unless the test holds them back, breaks them, or takes the whole node away.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type NodeSession, NodeSessionSchema } from '../contracts/blueprint.js';
import { OrchestratorError, toOrchestratorError } from '../contracts/errors.js';
import type { NodeHints } from '../contracts/hint.js';
import {
  type HandlerState,
  type HandlerStats,
  type HeartbeatQuery,
  HeartbeatQuerySchema,
  type LinkStats,
  type NodeFacts,
  type NodeFile,
  type ObservedHandler,
  type ObservedSession,
} from '../contracts/node.js';
import { type ProbeRequest, ProbeRequestSchema, type ProbeResult } from '../contracts/probe.js';
import { parseWith } from '../contracts/schema.js';

export interface FakeNodeOptions {
  readonly node_id: number;
  readonly node_name: string;
  readonly node_type?: NodeFile['node_type'];
  readonly labels?: readonly string[];
  readonly facts?: Partial<NodeFacts>;
  /** Node's wall clock minus the test's, s. */
  readonly clockOffsetS?: number;
}

const NO_STATS: HandlerStats = {
  ...{ received: 0, processed: 0, emitted: 0, dropped: {}, fps: 0, queue: 0 },
  service_ms_total: 0,
  ...{ service_ms_p50: null, service_ms_p95: null, queue_ms_p50: null, queue_ms_p95: null },
  ...{ end_to_end_ms_p50: null, end_to_end_ms_p95: null, last_sequence: null, drops_seen: {}, ended: false },
};

export class FakeNode {
  readonly options: FakeNodeOptions;
  /** What it was told, newest last. */
  readonly puts: NodeSession[] = [];
  readonly deletes: { session_id: number; epoch: number }[] = [];
  readonly sessions = new Map<number, NodeSession>();
  heartbeats = 0;
  /** What coordinators said of its clock, newest last. */
  readonly told: HeartbeatQuery[] = [];
  /** What its probes find, by node_id of the other end; others are refused. */
  readonly paths = new Map<number, { rtt_ms: number; mbit_per_s: number | null }>();
  readonly probes: ProbeRequest[] = [];
  /** Input links that its sessions tell of, by handler_id. */
  readonly links = new Map<number, LinkStats[]>();
  /** handler_id -> how its models are run. */
  readonly inferences = new Map<number, Pick<ObservedHandler, 'threads' | 'threads_why' | 'shared_models'>>();
  epoch = 0;
  /** Percent of its cores. */
  cpuUtil: number | null = null;
  /** True: handlers of the generations that it is told of from now on stay `preparing`, for as long as it is true. */
  holds = false;
  /** True: takes questions and never answers. */
  silent = false;
  /** True: stays `draining` when it is told to stop. */
  drains = false;
  /** Thrown at the next PUTs. */
  refuses: OrchestratorError | null = null;
  /** Restarts of every handler's host. */
  restarts = 0;
  /** Why, as its agent says. */
  lastExit: string | undefined;
  /** handler_id -> why it has failed. */
  readonly failed = new Map<number, string>();
  /** Handlers with this model cannot be created. */
  noModel: string | null = null;
  readonly #stats = new Map<string, Partial<HandlerStats>>();
  /** session_id -> the generation that it was told of while it held. */
  readonly #held = new Map<number, number>();
  /** Who waits for hints. */
  readonly #waiting: ((hints: NodeHints) => void)[] = [];
  #hints = 0;
  #server: Server | null = null;
  #port = 0;

  constructor(options: FakeNodeOptions) {
    this.options = options;
  }

  async start(): Promise<void> {
    const server = createServer((request, response) => void this.#answer(request, response));
    await new Promise<void>((resolve) => server.listen(this.#port, '127.0.0.1', resolve));
    this.#port = (server.address() as AddressInfo).port;
    this.#server = server;
  }

  /** The process is gone: connections break, new ones are refused, and it forgets everything. */
  async kill(): Promise<void> {
    const server = this.#server;
    this.#server = null;
    this.sessions.clear();
    this.#stats.clear();
    this.epoch = 0;
    if (server === null) return;
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }

  get isListening(): boolean {
    return this.#server !== null;
  }

  get file(): NodeFile {
    const { node_id, node_name, node_type = 'edge', labels = [] } = this.options;
    return {
      ...{ node_id, node_name, node_type, labels: [...labels] },
      ...{ node_addr: '127.0.0.1', node_port: this.#port, rtt_ms: 0.5, bandwidth_mbit: 1000 },
    };
  }

  /** Figures that heartbeats tell of a handler from now on. */
  tell(sessionId: number, handlerId: number, stats: Partial<HandlerStats>): void {
    const key = `${sessionId}/${handlerId}`;
    this.#stats.set(key, { ...this.#stats.get(key), ...stats });
  }

  /** Tells whoever waits that there is news. */
  hint(...suspects: number[]): void {
    this.#hints += 1;
    for (const answer of this.#waiting.splice(0)) answer({ sequence: this.#hints, suspects });
  }

  /** Whether somebody waits for hints. */
  get isWatched(): boolean {
    return this.#waiting.length > 0;
  }

  observe(session: NodeSession): ObservedSession {
    const { session_id, epoch, generation, desired } = session;
    const handlers = session.handlers.map((handler) => ({
      handler_id: handler.handler_id,
      handler_name: handler.handler_name,
      handler_type: Number(handler.handler_type),
      state: this.#stateOf(session, handler.handler_id),
      ...{ pid: 1, restarts: this.restarts },
      ...(this.lastExit === undefined ? {} : { last_exit: this.lastExit }),
      links: this.links.get(handler.handler_id) ?? [],
      ...this.inferences.get(handler.handler_id),
      ...(this.failed.has(handler.handler_id) ? { error: this.failed.get(handler.handler_id)! } : {}),
      stats: { ...NO_STATS, ...this.#stats.get(`${session_id}/${handler.handler_id}`) },
    }));
    const order: HandlerState[] = ['failed', 'preparing', 'draining', 'ready', 'running', 'stopped'];
    const state = order.find((one) => handlers.some((handler) => handler.state === one)) ?? desired;
    return { session_id, epoch, generation, desired, state, handlers };
  }

  #stateOf(session: NodeSession, handlerId: number): HandlerState {
    const { model } = session.handlers.find((one) => one.handler_id === handlerId)!.params ?? {};
    if (this.failed.has(handlerId) || (model !== undefined && model === this.noModel)) return 'failed';
    if (session.desired === 'stopped') return this.drains ? 'draining' : 'stopped';
    const isHeld = this.holds && this.#held.get(session.session_id) === session.generation;
    return isHeld ? 'preparing' : session.desired;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    if (this.silent) return;
    const send = (status: number, body: unknown) =>
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    try {
      send(200, await this.#route(request, Buffer.concat(chunks).toString()));
    } catch (error) {
      const problem = toOrchestratorError(error).toProblem();
      send(problem.status, problem);
    }
  }

  #route(request: IncomingMessage, body: string): unknown {
    const url = new URL(request.url ?? '/', 'http://node');
    if (url.pathname === '/v1/node') return this.#heartbeat(url.searchParams);
    if (url.pathname === '/v1/node/hints') return new Promise((resolve) => this.#waiting.push(resolve));
    if (url.pathname === '/v1/probes') return this.#probe(JSON.parse(body));
    const sessionId = Number(/^\/v1\/sessions\/(\d+)$/.exec(url.pathname)?.[1]);
    if (request.method === 'PUT') return this.#put(JSON.parse(body));
    if (request.method === 'DELETE') return this.#delete(sessionId, Number(url.searchParams.get('epoch')));
    throw new OrchestratorError('ROUTE_NOT_FOUND', url.pathname);
  }

  #heartbeat(query: URLSearchParams) {
    this.heartbeats += 1;
    const told = Object.fromEntries([...query].map(([name, value]) => [name, Number(value)]));
    if (query.size > 0) this.told.push(parseWith(HeartbeatQuerySchema, told, 'REQUEST_INVALID', 'query'));
    const { node_id, node_name, labels = [], facts, clockOffsetS = 0 } = this.options;
    return {
      facts: {
        ...{ node_id, node_name, version: '0.0.0', hostname: 'test', cpu_model: 'test', cpu_cores: 4 },
        ...{ mem_mb: 8000, mem_free_mb: 6000, speed: 1, gpus: [], labels: [...labels] },
        handler_types: [2, 3, 5, 6, 7, 16],
        ...facts,
      },
      timestamp: Date.now() / 1000 + clockOffsetS,
      clock_correction_ms: this.told.at(-1)?.clock_offset_ms ?? 0,
      ...{ cpu_util: this.cpuUtil, epoch: this.epoch },
      sessions: [...this.sessions.values()].map((session) => this.observe(session)),
    };
  }

  #probe(body: unknown): ProbeResult {
    const request = parseWith(ProbeRequestSchema, body, 'REQUEST_INVALID', 'body');
    this.probes.push(request);
    const path = this.paths.get(request.target_node);
    if (path === undefined) throw new OrchestratorError('NODE_UNREACHABLE', `${request.url} does not answer`);
    return { ...path, bytes: 0 };
  }

  #put(body: unknown): ObservedSession {
    const wanted = parseWith(NodeSessionSchema, body, 'REQUEST_INVALID', 'body');
    this.puts.push(wanted);
    if (this.refuses !== null) throw this.refuses;
    this.#fence(wanted.epoch);
    const { generation = 0, epoch = 0 } = this.sessions.get(wanted.session_id) ?? {};
    if (wanted.epoch === epoch && wanted.generation < generation) {
      throw new OrchestratorError('SESSION_STALE', `generation ${wanted.generation} < ${generation}`);
    }
    if (this.holds && wanted.generation !== generation) this.#held.set(wanted.session_id, wanted.generation);
    this.sessions.set(wanted.session_id, wanted);
    return this.observe(wanted);
  }

  #delete(session_id: number, epoch: number): ObservedSession {
    this.deletes.push({ session_id, epoch });
    this.#fence(epoch);
    const session = this.sessions.get(session_id);
    if (session === undefined) throw new OrchestratorError('SESSION_NOT_FOUND', `no session ${session_id}`);
    this.sessions.delete(session_id);
    return this.observe({ ...session, desired: 'stopped' });
  }

  #fence(epoch: number): void {
    if (epoch < this.epoch) throw new OrchestratorError('SESSION_STALE', `epoch ${epoch} < ${this.epoch}`);
    this.epoch = epoch;
  }
}
