/**
 * A reference coordinator joins two nodes by a tx on one and an rx on the other, which know no more of each other than an
 * address and a port. Here both become ends of one link: the node of the tx dials that port, the node of the rx listens
 * on it and hands what dials to the handler that the rx feeds. No code runs for a tx or an rx; it is a link like any
 * other, token and TLS as of the agent's own port.
 */
import { createServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { Server } from 'node:net';
import { httpUrl } from '../client/addresses.js';
import type { Blueprint, BlueprintHandler, NodeLink } from '../contracts/blueprint.js';
import { OrchestratorError } from '../contracts/errors.js';
import { type HandlerTypeRegistry, parseParams } from '../contracts/handler-type.js';
import { linkPath } from '../handler-kit/host-protocol.js';
import type { TlsIdentity } from '../http-server/http-server.js';
import { checkProtocol } from '../links/handshake.js';
import type { Logger } from '../std/logger.js';
import type { HeldUpgrades } from './held-upgrades.js';
import { linkUpgrades } from './link-upgrade.js';
import type { SessionManager } from './session-manager.js';

/** An rx: what comes in at `port` goes over `link`. */
export interface RxEnd {
  readonly port: number;
  readonly link: NodeLink;
}

export interface JoinedBlueprint {
  readonly handlers: readonly BlueprintHandler[];
  readonly links: readonly NodeLink[];
  readonly rx: readonly RxEnd[];
}

export interface JoinOptions {
  readonly types: HandlerTypeRegistry;
  readonly nodeId: number;
  readonly tls: boolean;
  readonly where: string;
}

interface End {
  readonly handler: BlueprintHandler;
  readonly addr: string;
  readonly port: number;
}

/** Takes tx and rx out. Throws REQUEST_INVALID for one that cannot be a link. */
export function joinTxAndRx(blueprint: Blueprint, options: JoinOptions): JoinedBlueprint {
  const { nodeId, tls, where } = options;
  const tx = endsOf(blueprint, 'tx', options);
  const rx = endsOf(blueprint, 'rx', options);
  checkEnds(blueprint, where);
  const links = blueprint.links.map((link): NodeLink => {
    const to = tx.get(link.target_handler);
    const ends = { ...link, source_node: nodeId, target_node: nodeId };
    if (to !== undefined) return { ...ends, target_url: httpUrl(to.addr, to.port, tls) };
    return rx.has(link.source_handler) ? { ...ends, awaited: true } : ends;
  });
  for (const { handler } of tx.values()) {
    if (links.some((link) => link.target_handler === handler.handler_id)) continue;
    throw invalid(where, handler, 'has no link; it has nothing to send');
  }
  const fed = [...rx.values()].map(({ handler, port }): RxEnd => {
    const [link, ...more] = links.filter((one) => one.source_handler === handler.handler_id);
    if (link === undefined || more.length > 0) {
      throw invalid(where, handler, `feeds ${link === undefined ? 0 : more.length + 1} inputs; it must be one`);
    }
    if (tx.has(link.target_handler)) throw invalid(where, handler, 'feeds a tx; a link needs a handler at an end');
    return { port, link };
  });
  const handlers = blueprint.handlers.filter(({ handler_id }) => !tx.has(handler_id) && !rx.has(handler_id));
  return { handlers, links, rx: fed };
}

/** Later, a link to a handler that is not here passes for one to another node. */
function checkEnds({ handlers, links }: Blueprint, where: string): void {
  const ids = new Set(handlers.map(({ handler_id }) => handler_id));
  for (const link of links) {
    const missing = [link.source_handler, link.target_handler].find((id) => !ids.has(id));
    if (missing === undefined) continue;
    const name = `${where}: link ${link.source_handler}.${link.source_output} -> ${link.target_handler}.${link.target_input}`;
    throw new OrchestratorError('LINK_UNKNOWN_HANDLER', `${name}: no handler has id ${missing}`, { link });
  }
}

function endsOf(blueprint: Blueprint, type: 'tx' | 'rx', { types, where }: JoinOptions): Map<number, End> {
  const ends = new Map<number, End>();
  for (const handler of blueprint.handlers) {
    const found = types.get(handler.handler_type, where);
    if (found.handler_type_name !== type) continue;
    const { addr, port } = parseParams(found, handler.params, where).params as { addr: string; port: number };
    if (port === 0) throw invalid(where, handler, 'needs a port');
    if (type === 'tx' && addr === '') throw invalid(where, handler, 'needs the addr of the node that has the rx');
    ends.set(handler.handler_id, { handler, addr, port });
  }
  return ends;
}

function invalid(where: string, { handler_id, handler_name }: BlueprintHandler, why: string): OrchestratorError {
  return new OrchestratorError('REQUEST_INVALID', `${where}: handler ${handler_id} ${handler_name} ${why}`, {
    handler_id,
  });
}

export interface RxPortsOptions {
  readonly sessions: SessionManager;
  readonly held: HeldUpgrades;
  readonly token: string | null;
  readonly tls: TlsIdentity | null;
  /** Where the agent listens. */
  readonly host: () => string;
  readonly logger: Logger;
}

/** The ports on which rx ends of sessions listen; closed with their session. */
export class RxPorts {
  readonly #options: RxPortsOptions;
  readonly #open = new Map<number, Server[]>();

  constructor(options: RxPortsOptions) {
    this.#options = options;
  }

  /** Listens for all of them or none. Throws ADDRESS_IN_USE. */
  async open(session_id: number, ends: readonly RxEnd[]): Promise<void> {
    const servers: Server[] = [];
    this.#open.set(session_id, servers);
    try {
      for (const end of ends) servers.push(await this.#listen(session_id, end));
    } catch (error) {
      this.close(session_id);
      throw error;
    }
  }

  close(session_id: number): void {
    for (const server of this.#open.get(session_id) ?? []) server.close();
    this.#open.delete(session_id);
  }

  closeAll(): void {
    for (const session_id of [...this.#open.keys()]) this.close(session_id);
  }

  #listen(session_id: number, { port, link }: RxEnd): Promise<Server> {
    const { sessions, held, token, tls, logger } = this.#options;
    const server = tls === null ? createServer() : createTlsServer({ cert: tls.cert, key: tls.key });
    const destination = { session_id, handler_id: link.target_handler, url: linkPath(session_id, link) };
    const leadsTo = ({ headers, url }: { headers: NodeJS.Dict<string | string[]>; url?: string | undefined }) => {
      checkProtocol(headers);
      if (headers['x-link-role'] === 'sender') return destination;
      throw new OrchestratorError('ROUTE_NOT_FOUND', `GET ${url}: port ${port} only takes what a tx sends`);
    };
    server.on('upgrade', linkUpgrades({ sessions, held, token, logger, leadsTo }));
    return new Promise((resolve, reject) => {
      const fail = (error: NodeJS.ErrnoException) => {
        const message = `session ${session_id}: rx cannot listen on port ${port}: ${error.message}`;
        reject(new OrchestratorError('ADDRESS_IN_USE', message, { port }, { cause: error }));
      };
      server.once('error', fail).listen(port, this.#options.host(), () => {
        server.off('error', fail);
        resolve(server);
      });
    });
  }
}
