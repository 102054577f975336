/** Client of the coordinator: everything that a user or a page can ask. */
import { StringDecoder } from 'node:string_decoder';
import type { ApplyRequest, ApplyResult } from '../contracts/apply.js';
import type { OrchestratorEvent } from '../contracts/event.js';
import type { FleetSnapshot } from '../contracts/fleet.js';
import type { Loss } from '../contracts/loss.js';
import type { NodeView } from '../contracts/node.js';
import type { MoveRequest, SessionCreated, SessionRequest, SessionView } from '../contracts/session.js';
import type { Trace } from '../contracts/trace.js';
import type {
  ClusterSnapshot,
  CoordinatorHealth,
  Explanation,
  HandlerTypeView,
  NodeLink,
  ServiceView,
} from './answers.js';
import { createFollowingClient } from './following.js';

export interface CoordinatorClientOptions {
  /** `http://host:port`; several, separated by commas, where several coordinators share one database. */
  readonly url: string;
  readonly token: string | null;
  readonly tlsCa?: string | undefined;
  readonly timeoutMs?: number;
}

/** What `POST /v1/sessions` needs: defaults are filled in by the coordinator. */
export type SessionRequestInput = Pick<SessionRequest, 'service'> & Partial<SessionRequest>;

export interface EventQuery {
  /** Only events later than this, s since the epoch. */
  readonly after?: number;
  readonly session_id?: number;
  readonly node_id?: number;
  readonly limit?: number;
}

export interface CoordinatorClient {
  readonly url: string;
  nodes(): Promise<NodeView[]>;
  /** Takes no new handlers there and moves away those that can; `drain` of the node tells how far it is. By id or name. */
  drainNode(node: number | string): Promise<NodeView>;
  undrainNode(node: number | string): Promise<NodeView>;
  /** Between every two nodes, or those from and to one (id or name). */
  links(node?: number | string): Promise<NodeLink[]>;
  /** Measures the path from one node to another now; throws NODE_UNREACHABLE, PROBE_BUSY. */
  probeLink(source_node: number | string, target_node: number | string): Promise<NodeLink>;
  services(): Promise<ServiceView[]>;
  /** Says what changes, and begins; events tell how it ends. Throws SERVICE_FILE_INVALID, APPLY_REFUSED. */
  applyService(request: ApplyRequest): Promise<ApplyResult>;
  handlerTypes(): Promise<HandlerTypeView[]>;
  /** Throws SESSION_REFUSED with the Refusal as `context.refusal`. */
  createSession(request: SessionRequestInput): Promise<SessionCreated>;
  sessions(): Promise<SessionView[]>;
  session(session_id: number): Promise<SessionView>;
  startSession(session_id: number): Promise<SessionView>;
  stopSession(session_id: number): Promise<SessionView>;
  /** Begins to move a handler; events tell how it ends. Throws MOVE_REFUSED, HANDLER_NOT_FOUND, NODE_NOT_FOUND. */
  moveHandler(session_id: number, move: MoveRequest): Promise<SessionView>;
  deleteSession(session_id: number): Promise<void>;
  explain(session_id: number): Promise<Explanation>;
  /** `last`: only what was decided in the last so many seconds. */
  loss(session_id: number, query?: { readonly last?: number }): Promise<Loss>;
  /** `last`: only packets that reached a sink in the last so many seconds; without it the newest that are read at once. */
  trace(session_id: number, query?: { readonly last?: number; readonly slowest?: number }): Promise<Trace>;
  /** Oldest first. */
  events(query?: EventQuery): Promise<OrchestratorEvent[]>;
  /** Events as they happen, those after `after` first; ends when `signal` aborts or the coordinator goes. */
  followEvents(options: { signal: AbortSignal; after?: number }): AsyncGenerator<OrchestratorEvent>;
  snapshot(): Promise<ClusterSnapshot>;
  /** The snapshot that plans for many sessions read. */
  fleet(): Promise<FleetSnapshot>;
  health(): Promise<CoordinatorHealth>;
  close(): Promise<void>;
}

const nodePath = (node: number | string, what: string) => `/v1/nodes/${encodeURIComponent(node)}/${what}`;

export function createCoordinatorClient(options: CoordinatorClientOptions): CoordinatorClient {
  const urls = options.url.split(',').map((url) => url.trim());
  const http = createFollowingClient({ ...options, urls, unreachable: 'SERVICE_UNREACHABLE', peer: 'coordinator' });
  const get = async <T>(path: string, query?: Record<string, number | string | undefined>) =>
    (await http.request('GET', path, { query })) as T;
  return {
    get url() {
      return http.url;
    },
    nodes: () => get('/v1/nodes'),
    drainNode: async (node) => (await http.request('POST', nodePath(node, 'drain'))) as NodeView,
    undrainNode: async (node) => (await http.request('POST', nodePath(node, 'undrain'))) as NodeView,
    links: (node) => get('/v1/links', { node }),
    probeLink: async (source_node, target_node) => {
      const json = { source_node, target_node };
      return (await http.request('POST', '/v1/links/probe', { json })) as NodeLink;
    },
    services: () => get('/v1/services'),
    applyService: async (json) => (await http.request('POST', '/v1/services/apply', { json })) as ApplyResult,
    handlerTypes: () => get('/v1/handler-types'),
    createSession: async (json) => (await http.request('POST', '/v1/sessions', { json })) as SessionCreated,
    sessions: () => get('/v1/sessions'),
    session: (id) => get(`/v1/sessions/${id}`),
    startSession: async (id) => (await http.request('POST', `/v1/sessions/${id}/start`)) as SessionView,
    stopSession: async (id) => (await http.request('POST', `/v1/sessions/${id}/stop`)) as SessionView,
    moveHandler: async (id, json) => (await http.request('POST', `/v1/sessions/${id}/move`, { json })) as SessionView,
    deleteSession: async (id) => {
      await http.request('DELETE', `/v1/sessions/${id}`);
    },
    explain: (id) => get(`/v1/sessions/${id}/explain`),
    loss: (id, { last } = {}) => get(`/v1/sessions/${id}/loss`, { last }),
    trace: (id, query = {}) => get(`/v1/sessions/${id}/trace`, { ...query }),
    events: (query = {}) => get('/v1/events', { ...query }),
    async *followEvents({ signal, after }) {
      const headers = { accept: 'text/event-stream' };
      const body = await http.stream('/v1/events', { signal, headers, query: { after } });
      try {
        for await (const data of serverSentData(body)) yield JSON.parse(data) as OrchestratorEvent;
      } catch (error) {
        if (!signal.aborted) throw error;
      }
    },
    snapshot: () => get('/v1/snapshot'),
    fleet: () => get('/v1/fleet'),
    health: () => get('/v1/health'),
    close: () => http.close(),
  };
}

/** The `data` of each server-sent event; comments and other fields are skipped (WHATWG HTML, section 9.2.6). */
async function* serverSentData(stream: AsyncIterable<Buffer>): AsyncGenerator<string> {
  const decoder = new StringDecoder('utf8');
  let rest = '';
  for await (const chunk of stream) {
    const blocks = (rest + decoder.write(chunk)).split('\n\n');
    rest = blocks.pop()!;
    for (const block of blocks) {
      const data = block.split('\n').filter((line) => line.startsWith('data:'));
      if (data.length > 0) yield data.map((line) => line.slice(5).trimStart()).join('\n');
    }
  }
}
