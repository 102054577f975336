/**
 * Client of a node agent. What a node answers decides where handlers run, so heartbeats and observed sessions are
 * checked against their schema here: a node of another version is a node that cannot be reached, not a wrong plan.
 */
import { connect } from 'node:net';
import type { Static, TSchema } from '#vendor/typebox.js';
import type { NodeSession } from '../contracts/blueprint.js';
import { OrchestratorError } from '../contracts/errors.js';
import { type HintsQuery, type NodeHints, NodeHintsSchema } from '../contracts/hint.js';
import { PROBE_TIME_MS_MAX } from '../contracts/limits.js';
import {
  type Heartbeat,
  type HeartbeatQuery,
  HeartbeatSchema,
  type ObservedSession,
  ObservedSessionSchema,
} from '../contracts/node.js';
import {
  type ProbeRequest,
  type ProbeResult,
  ProbeResultSchema,
  type ProbeSinkAnswer,
  ProbeSinkAnswerSchema,
} from '../contracts/probe.js';
import { schemaFaults } from '../contracts/schema.js';
import type { Health } from './answers.js';
import { createHttpClient, REQUEST_TIMEOUT_MS, type RequestOptions } from './http.js';

/** What the answer to a question that waits may take beyond its wait, ms: what any answer may. */
const HINT_LATE_MS = REQUEST_TIMEOUT_MS;

export interface NodeClientOptions {
  readonly url: string;
  readonly token: string | null;
  readonly tlsCa?: string | undefined;
  readonly timeoutMs?: number;
  /** A connection to the node was closed: news of its end, or of nothing. */
  onDisconnect?(): void;
}

export interface NodeClient {
  readonly url: string;
  /** `GET /v1/node`; `query` is what a coordinator tells with it. */
  heartbeat(options?: Pick<RequestOptions, 'timeoutMs'> & { readonly query?: HeartbeatQuery }): Promise<Heartbeat>;
  /** `GET /v1/node/hints`: answers when the node has news, or when the wait is over. */
  hints(query: HintsQuery): Promise<NodeHints>;
  /** `PUT /v1/sessions/:id`; throws SESSION_STALE for an epoch or generation older than the node has seen. */
  putSession(session: NodeSession): Promise<ObservedSession>;
  /** `DELETE /v1/sessions/:id?epoch=N`; false when the node has no such session. */
  deleteSession(session_id: number, epoch: number): Promise<boolean>;
  /** `GET /v1/sessions` */
  listSessions(): Promise<ObservedSession[]>;
  /** `GET /v1/health` */
  health(): Promise<Health>;
  /** `POST /v1/probes`: the node measures its path to another; throws PROBE_BUSY while it measures one. */
  probe(request: ProbeRequest): Promise<ProbeResult>;
  /** `POST /v1/probes/sink`: the node takes `body` and says how fast it came. */
  probeSink(body: Buffer, options: Required<Pick<RequestOptions, 'timeoutMs'>>): Promise<ProbeSinkAnswer>;
  /** Whether the machine takes, or refuses, a TCP connection: false when it is gone, true also when only its agent is. */
  reachable(timeoutMs: number): Promise<boolean>;
  close(): Promise<void>;
}

export function createNodeClient(options: NodeClientOptions): NodeClient {
  const http = createHttpClient({ ...options, unreachable: 'NODE_UNREACHABLE', peer: 'node' });
  const checked = <S extends TSchema>(schema: S, body: unknown, what: string): Static<S> => {
    const faults = schemaFaults(schema, body);
    if (faults.length === 0) return body as Static<S>;
    throw new OrchestratorError(
      'NODE_UNREACHABLE',
      `node at ${http.url} answered no valid ${what}: ${faults.slice(0, 3).join('; ')}`,
      { url: http.url, cause: 'answer', faults: faults.slice(0, 10) },
    );
  };
  return {
    url: http.url,
    async heartbeat(given = {}) {
      return checked(HeartbeatSchema, await http.request('GET', '/v1/node', given), 'heartbeat');
    },
    async hints(query) {
      const timeoutMs = query.wait_ms + HINT_LATE_MS;
      const answer = await http.request('GET', '/v1/node/hints', { query, timeoutMs, repeat: false });
      return checked(NodeHintsSchema, answer, 'hints');
    },
    async putSession(session) {
      const body = await http.request('PUT', `/v1/sessions/${session.session_id}`, { json: session });
      return checked(ObservedSessionSchema, body, 'observed session');
    },
    async deleteSession(session_id, epoch) {
      try {
        await http.request('DELETE', `/v1/sessions/${session_id}`, { query: { epoch } });
        return true;
      } catch (error) {
        if (error instanceof OrchestratorError && error.code === 'SESSION_NOT_FOUND') return false;
        throw error;
      }
    },
    async listSessions() {
      const body = await http.request('GET', '/v1/sessions');
      const list = Array.isArray(body) ? body : [];
      return list.map((one) => checked(ObservedSessionSchema, one, 'observed session'));
    },
    async probe(request) {
      // The other node is given its time, and this one a second to say what came of it.
      const timeoutMs = PROBE_TIME_MS_MAX + 1_000;
      return checked(
        ProbeResultSchema,
        await http.request('POST', '/v1/probes', { json: request, timeoutMs }),
        'probe result',
      );
    },
    async probeSink(body, { timeoutMs }) {
      const headers = { 'content-type': 'application/octet-stream' };
      const answer = await http.request('POST', '/v1/probes/sink', { body, headers, timeoutMs });
      return checked(ProbeSinkAnswerSchema, answer, 'probe answer');
    },
    health: async () => (await http.request('GET', '/v1/health')) as Health,
    reachable: (timeoutMs) => connects(new URL(http.url), timeoutMs),
    close: () => http.close(),
  };
}

function connects(url: URL, timeoutMs: number): Promise<boolean> {
  const host = url.hostname.replace(/^\[|\]$/g, '');
  return new Promise((resolve) => {
    const socket = connect({ host, port: Number(url.port || 80) });
    const done = (is: boolean) => {
      socket.destroy();
      resolve(is);
    };
    // When this process was held up, the connection may be there already and wait to be seen.
    socket.setTimeout(timeoutMs, () => setImmediate(() => done(false)));
    socket.once('connect', () => done(true));
    socket.once('error', ({ code }: NodeJS.ErrnoException) => done(code === 'ECONNREFUSED'));
  });
}
