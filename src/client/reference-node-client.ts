/**
 * A node that speaks the reference's control protocol only (`"control": "reference"` in its node file), as a NodeClient:
 * what a coordinator wants of a session becomes init, start, stop and delete, in order, one at a time; what the node has
 * answered is what is observed. Links to other such nodes become a tx here and an rx there, on a port that both compute.
 *
 *     (none) --init--> ready --start--> running --stop--> stopped --delete--> (none)       any answer `Failed` -> failed
 *
 * Surprising: such a node tells nothing of itself. It is up while it takes connections, its facts are assumptions, a
 * changed plan means delete and init again, and a session that was made before this process began is ended before init.
 */
import { connect } from 'node:net';
import type { BlueprintHandler, BlueprintLink, NodeLink, NodeSession } from '../contracts/blueprint.js';
import { OrchestratorError, toOrchestratorError } from '../contracts/errors.js';
import type { HandlerState, Heartbeat, NodeFacts, NodeFile, ObservedSession } from '../contracts/node.js';
import type { Clock } from '../std/clock.js';
import { createHttpClient, type HttpClient } from './http.js';
import type { NodeClient } from './node-client.js';

/** The reference's init answers within 30 s; a busy node a little later, ms. */
const ACTION_TIMEOUT_MS = 35_000;

/** A TCP connection is all that can be asked for, ms. */
const CONNECT_TIMEOUT_MS = 1_000;

/** Handler types of the reference: tx and rx are made here. */
const REFERENCE_TYPES = Array.from({ length: 18 }, (_, type) => type);

/** Ports of links between reference nodes: above the usual services, below what systems give out by themselves. */
const LINK_PORTS = { first: 20_000, count: 10_000 } as const;

export interface ReferenceNodeOptions {
  readonly file: NodeFile;
  readonly url: string;
  /** Other nodes by id: where a tx sends to. */
  readonly peer: (node_id: number) => NodeFile | undefined;
  readonly clock: Clock;
}

interface Driven {
  target: NodeSession;
  /** Null: it shall be deleted. */
  wanted: NodeSession['desired'] | null;
  /** Of what the node was given. */
  state: HandlerState;
  /** What the target is in the reference's form, as JSON. */
  blueprint: string;
  /** What the node was given by init; null: nothing. */
  given: string | null;
  problem: string | null;
  loop: Promise<void> | null;
}

export function createReferenceNodeClient(options: ReferenceNodeOptions): NodeClient {
  return new ReferenceNodeClient(options);
}

class ReferenceNodeClient implements NodeClient {
  readonly url: string;
  readonly #options: ReferenceNodeOptions;
  readonly #http: HttpClient;
  readonly #sessions = new Map<number, Driven>();
  readonly #startedAt: number;

  constructor(options: ReferenceNodeOptions) {
    const { url, clock } = options;
    this.url = url;
    this.#options = options;
    this.#http = createHttpClient({ url, token: null, unreachable: 'NODE_UNREACHABLE', peer: 'node' });
    this.#startedAt = clock.now();
  }

  async heartbeat({ timeoutMs = CONNECT_TIMEOUT_MS } = {}): Promise<Heartbeat> {
    await connected(this.url, timeoutMs);
    const sessions = [...this.#sessions.values()].map(observed);
    const timestamp = this.#options.clock.now();
    return { facts: assumedFacts(this.#options.file), timestamp, clock_correction_ms: 0, epoch: 0, sessions };
  }

  async putSession(session: NodeSession): Promise<ObservedSession> {
    const blueprint = JSON.stringify(referenceBlueprint(session, this.#options));
    const fresh: Driven = {
      ...{ target: session, wanted: session.desired, state: 'preparing', blueprint, given: null },
      ...{ problem: null, loop: null },
    };
    const driven = this.#sessions.get(session.session_id) ?? fresh;
    this.#sessions.set(session.session_id, driven);
    const isNewer = driven.target.generation !== session.generation || driven.target.epoch !== session.epoch;
    if (driven.state === 'failed' && isNewer) Object.assign(driven, { state: 'preparing', problem: null });
    Object.assign(driven, { target: session, wanted: session.desired, blueprint });
    this.#kick(driven);
    return observed(driven);
  }

  async deleteSession(session_id: number): Promise<boolean> {
    const driven = this.#sessions.get(session_id);
    if (driven === undefined) return false;
    driven.wanted = null;
    this.#kick(driven);
    return true;
  }

  async listSessions(): Promise<ObservedSession[]> {
    return [...this.#sessions.values()].map(observed);
  }

  async health() {
    await connected(this.url, CONNECT_TIMEOUT_MS);
    return { status: 'ok' };
  }

  hints(): Promise<never> {
    return Promise.reject(this.#cannot('give hints'));
  }

  probe(): Promise<never> {
    return Promise.reject(this.#cannot('measure paths'));
  }

  probeSink(): Promise<never> {
    return Promise.reject(this.#cannot('measure paths'));
  }

  reachable(timeoutMs: number): Promise<boolean> {
    return connected(this.url, timeoutMs).then(
      () => true,
      () => false,
    );
  }

  close(): Promise<void> {
    return this.#http.close();
  }

  #cannot(what: string): OrchestratorError {
    const { node_name } = this.#options.file;
    return new OrchestratorError(
      'NODE_UNREACHABLE',
      `node ${node_name} speaks the reference's control protocol only and cannot ${what}`,
      { cause: 'answer' },
    );
  }

  #kick(driven: Driven): void {
    driven.loop ??= this.#drive(driven).finally(() => {
      driven.loop = null;
    });
  }

  /** One action after the other until the node is where it shall be, or says why not. */
  async #drive(driven: Driven): Promise<void> {
    try {
      for (let step = this.#nextStep(driven); step !== null; step = this.#nextStep(driven)) await step();
    } catch (error) {
      Object.assign(driven, { state: 'failed', problem: toOrchestratorError(error).message });
      if (driven.wanted === null) this.#sessions.delete(driven.target.session_id);
    }
  }

  #nextStep(driven: Driven): (() => Promise<void>) | null {
    const { wanted, state, given, blueprint } = driven;
    const { session_id } = driven.target;
    if (wanted === null) {
      if (given !== null) return () => this.#end(driven);
      this.#sessions.delete(session_id);
      return null;
    }
    if (state === 'failed') return null;
    const runsAgain = state === 'stopped' && wanted !== 'stopped';
    if (given !== null && (given !== blueprint || runsAgain) && wanted !== 'stopped') return () => this.#end(driven);
    if (wanted === 'stopped') return state === 'stopped' ? null : () => this.#stop(driven);
    if (given === null) return () => this.#init(driven);
    if (wanted === 'running' && state === 'ready') {
      return async () => {
        await this.#act('start', session_id);
        driven.state = 'running';
      };
    }
    return null;
  }

  async #init(driven: Driven): Promise<void> {
    const { blueprint } = driven;
    const { session_id, created_at = Number.POSITIVE_INFINITY } = driven.target;
    driven.state = 'preparing';
    if (created_at < this.#startedAt) {
      // Of an earlier coordinator; that there is none is as good.
      for (const action of ['stop', 'delete'] as const) await this.#act(action, session_id).catch(ignoreRefusal);
    }
    await this.#act('init', session_id, { blueprint: JSON.parse(blueprint) });
    Object.assign(driven, { given: blueprint, state: 'ready' });
  }

  async #stop(driven: Driven): Promise<void> {
    if (driven.state === 'running') await this.#act('stop', driven.target.session_id);
    driven.state = 'stopped';
  }

  async #end(driven: Driven): Promise<void> {
    if (driven.state !== 'stopped') {
      driven.state = 'draining';
      await this.#act('stop', driven.target.session_id).catch(ignoreRefusal);
    }
    await this.#act('delete', driven.target.session_id);
    Object.assign(driven, { given: null, state: 'preparing' });
  }

  async #act(action: 'init' | 'start' | 'stop' | 'delete', session_id: number, more: object = {}): Promise<void> {
    const json = { action, session_id, ...more };
    const answer = (await this.#http.request('POST', '/', { json, timeoutMs: ACTION_TIMEOUT_MS })) as Answer | null;
    if (answer?.result === 'Succeeded') return;
    const { node_name } = this.#options.file;
    const reason = String(answer?.reason ?? JSON.stringify(answer) ?? 'no answer').slice(0, 500);
    throw new OrchestratorError('HANDLER_FAILED', `${node_name} refuses ${action} of session ${session_id}: ${reason}`);
  }
}

interface Answer {
  readonly result?: unknown;
  readonly reason?: unknown;
}

/** A session that is not there, or does not run, needs no end. */
function ignoreRefusal(error: unknown): void {
  if (toOrchestratorError(error).code !== 'HANDLER_FAILED') throw error;
}

function observed({ target, wanted, blueprint, given, problem, ...driven }: Driven): ObservedSession {
  const isOld = given !== null && given !== blueprint && driven.state !== 'failed' && wanted !== 'stopped';
  const state = isOld ? 'preparing' : driven.state;
  const { session_id, epoch, generation } = target;
  return {
    ...{ session_id, epoch, generation, desired: wanted ?? 'stopped', state },
    handlers: target.handlers.map(({ handler_id, handler_name, handler_type }) => ({
      ...{ handler_id, handler_name, handler_type: Number(handler_type), state, pid: null, restarts: 0, links: [] },
      ...(problem === null ? {} : { error: problem }),
    })),
  };
}

/** What the reference's nodes do not tell. */
function assumedFacts({ node_id, node_name, node_addr, labels }: NodeFile): NodeFacts {
  return {
    ...{ node_id, node_name, version: 'reference', hostname: node_addr, cpu_model: 'unknown', cpu_cores: 1 },
    ...{ mem_mb: 0, mem_free_mb: 0, speed: 1, gpus: [], labels, handler_types: REFERENCE_TYPES },
  };
}

/** Handlers and links in the reference's form. Throws REQUEST_INVALID for what it does not have. */
export function referenceBlueprint(session: NodeSession, { file, peer }: Pick<ReferenceNodeOptions, 'file' | 'peer'>) {
  const handlers: BlueprintHandler[] = session.handlers.map(({ post, ...handler }) => {
    if (post !== true) return handler;
    throw refused(session, file, `handler ${handler.handler_id} takes posted packets`);
  });
  const ends = session.links.flatMap((link) => [link.source_handler, link.target_handler]);
  let next = 1 + Math.max(-1, ...ends, ...handlers.map(({ handler_id }) => handler_id));
  const links = session.links.map((link): BlueprintLink => {
    const { source_handler, source_output, target_handler, target_input, source_node, target_node } = link;
    const ours = { source_handler, source_output, target_handler, target_input };
    if (source_node === target_node) return ours;
    const isSource = source_node === file.node_id;
    const other = peer(isSource ? target_node : source_node);
    if (other?.control !== 'reference') {
      throw refused(
        session,
        file,
        `node ${other?.node_name ?? '?'} at the other end of a link speaks another protocol`,
      );
    }
    const id = next++;
    const params = {
      addr: isSource ? other.node_addr : '0.0.0.0',
      port: linkPort(session.session_id, link),
      protocol: 'tcp',
    };
    const name = isSource ? `tx_${target_handler}` : `rx_${source_handler}`;
    handlers.push({ handler_id: id, handler_name: name, handler_type: isSource ? 0 : 1, params });
    return isSource
      ? { ...ours, target_handler: id, target_input: 0 }
      : { ...ours, source_handler: id, source_output: 0 };
  });
  return { handlers, links };
}

function refused({ session_id }: NodeSession, { node_name }: NodeFile, why: string): OrchestratorError {
  const message = `session ${session_id} cannot run on ${node_name}, which speaks the reference's control protocol only: ${why}`;
  return new OrchestratorError('REQUEST_INVALID', message);
}

/** The same at both ends; FNV-1a, so that sessions and links rarely meet on one port. */
export function linkPort(session_id: number, link: NodeLink): number {
  const text = [session_id, link.source_handler, link.source_output, link.target_handler, link.target_input].join('.');
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(text)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return LINK_PORTS.first + (hash % LINK_PORTS.count);
}

function connected(url: string, timeoutMs: number): Promise<void> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    const socket = connect({ host: hostname.replace(/^\[|\]$/g, ''), port: Number(port) });
    const fail = (cause: string) => {
      socket.destroy();
      reject(new OrchestratorError('NODE_UNREACHABLE', `node at ${url} takes no connection: ${cause}`, { url, cause }));
    };
    socket.setTimeout(timeoutMs, () => fail('timeout'));
    socket.once('error', (error: NodeJS.ErrnoException) => fail(error.code ?? error.message));
    socket.once('connect', () => {
      socket.destroy();
      resolve();
    });
  });
}
