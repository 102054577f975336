/**
 * From a node's share of a session to handler hosts. Pure: what is wanted and which hosts there are, in; which to keep,
 * to start and to retire, out. A host whose handlers are all still wanted as they are is never disturbed: it keeps
 * running and only gets its new links, even where grouping from nothing would have put a new neighbour beside them.
 */
import { type NodeSession, type ResolvedBlueprint, resolveBlueprint } from '../contracts/blueprint.js';
import { OrchestratorError } from '../contracts/errors.js';
import type { HandlerTypeRegistry } from '../contracts/handler-type.js';
import type { HostHandler, HostLink } from '../handler-kit/host-protocol.js';
import { groupHandlers } from './grouping.js';

/** The handlers of one host, each with what it is made of: a change of that needs a new host. */
export interface HostGroup {
  /** handler_id -> fingerprint. */
  readonly handlers: ReadonlyMap<number, string>;
  readonly hasSource: boolean;
  readonly hasSink: boolean;
}

export interface HostPlan<H extends HostGroup> {
  readonly keep: readonly H[];
  readonly start: readonly HostGroup[];
  readonly retire: readonly H[];
}

/** Throws what resolveBlueprint throws, and REQUEST_INVALID for a link from another node without an address to dial. */
export function resolveShare(session: NodeSession, types: HandlerTypeRegistry): ResolvedBlueprint {
  const where = `session ${session.session_id}`;
  const resolved = resolveBlueprint(session, { types, where, partial: true });
  for (const link of session.links) {
    if (resolved.handlers.has(link.source_handler) || link.awaited === true) continue;
    if (link.source_url !== undefined && /^https?:$/.test(protocolOf(link.source_url))) continue;
    throw new OrchestratorError(
      'REQUEST_INVALID',
      `${where}: link ${link.source_handler}.${link.source_output} -> ${link.target_handler}.${link.target_input} comes from node ${link.source_node} and needs source_url (is ${JSON.stringify(link.source_url)})`,
    );
  }
  return resolved;
}

function protocolOf(url: string): string {
  return URL.canParse(url) ? new URL(url).protocol : '';
}

/** `existing`: the hosts that may be kept, newest last. */
export function planHosts<H extends HostGroup>(
  session: NodeSession,
  resolved: ResolvedBlueprint,
  existing: readonly H[],
): HostPlan<H> {
  const wanted = new Map([...resolved.handlers.keys()].map((id) => [id, fingerprint(session, resolved, id)]));
  const kept = new Set<number>();
  const keep = [...existing].reverse().filter((host) => {
    const same = [...host.handlers].every(([id, print]) => wanted.get(id) === print && !kept.has(id));
    if (same) for (const id of host.handlers.keys()) kept.add(id);
    return same;
  });
  const rest = resolved.order.filter((id) => !kept.has(id));
  const groups = groupHandlers({
    handlers: rest.map((id) => ({ handler_id: id, host: resolved.handlers.get(id)!.type.host })),
    links: session.links,
  });
  return {
    keep,
    start: groups.map((ids) => ({
      handlers: new Map(ids.map((id) => [id, wanted.get(id)!])),
      hasSource: ids.some((id) => resolved.handlers.get(id)!.type.inputs.length === 0),
      hasSink: ids.some((id) => resolved.handlers.get(id)!.type.outputs.length === 0),
    })),
    retire: existing.filter((host) => !keep.includes(host)),
  };
}

function fingerprint(session: NodeSession, resolved: ResolvedBlueprint, handler_id: number): string {
  const { handler, type, params } = resolved.handlers.get(handler_id)!;
  return canonical([
    ...[handler.handler_name, type.handler_type_id, params, handler.post === true, handler.share === true],
    ...[session.delivery, session.latency_ms_max ?? null, session.node_id],
  ]);
}

/** JSON with the keys of every object in order, so that equal values give equal text. */
export function canonical(value: unknown): string {
  return JSON.stringify(value, (_, part: unknown) =>
    typeof part === 'object' && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  );
}

/** Handlers as a host gets them: type by number, parameters complete. */
export function hostHandlers(
  group: HostGroup,
  resolved: ResolvedBlueprint,
  earlier: (handler_id: number) => Pick<HostHandler, 'resume_after' | 'accounted'>,
): HostHandler[] {
  return [...group.handlers.keys()].map((id) => {
    const { handler, type, params } = resolved.handlers.get(id)!;
    return { ...handler, handler_type: type.handler_type_id, params, ...earlier(id) };
  });
}

/** The links that touch a host, each with the address to dial where its source is in another one. */
export function hostLinks(
  group: HostGroup,
  session: NodeSession,
  socketOf: (handler_id: number) => string | undefined,
): HostLink[] {
  return session.links
    .filter((link) => group.handlers.has(link.source_handler) || group.handlers.has(link.target_handler))
    .map(({ source_url, target_url, awaited, ...link }) => {
      if (group.handlers.has(link.source_handler)) {
        return target_url === undefined ? link : { ...link, push: { kind: 'http', url: target_url } };
      }
      const path = socketOf(link.source_handler);
      if (path !== undefined) return { ...link, dial: { kind: 'unix', path } };
      if (awaited === true) return { ...link, awaited };
      return { ...link, dial: { kind: 'http', url: source_url ?? '' } };
    });
}
