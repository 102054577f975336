/**
 * Which handlers of a session share a handler host on this node. Pure.
 * A handler of an `own` type anchors a host. A `shared` one (cheap: decode, resize, draw ...) joins the nearest anchor
 * that it feeds, following through other shared ones, so that raw frames pass by reference; else the nearest anchor that
 * feeds it; shared handlers that reach no anchor share one host with those they are linked to.
 * Invariant: every handler is in exactly one group, and no group has two anchors.
 */

export interface GroupingHandler {
  readonly handler_id: number;
  readonly host: 'own' | 'shared';
}

export interface GroupingLink {
  readonly source_handler: number;
  readonly target_handler: number;
}

export interface GroupingOptions {
  readonly handlers: readonly GroupingHandler[];
  /** Links with an end that is not among `handlers` are not followed. */
  readonly links: readonly GroupingLink[];
}

type Neighbours = ReadonlyMap<number, readonly number[]>;

/** Groups of handler_ids, each in the order of `handlers`; the groups in the order of their first handler. */
export function groupHandlers({ handlers, links }: GroupingOptions): number[][] {
  const anchors = new Set(handlers.filter((one) => one.host === 'own').map((one) => one.handler_id));
  const known = new Set(handlers.map((one) => one.handler_id));
  const inner = links.filter((link) => known.has(link.source_handler) && known.has(link.target_handler));
  const feeds = neighbours(inner, (link) => [link.source_handler, link.target_handler]);
  const fedBy = neighbours(inner, (link) => [link.target_handler, link.source_handler]);
  const rest = new Set([...known].filter((id) => !anchors.has(id)));
  const groupOf = new Map<number, number>([...anchors].map((id) => [id, id]));
  for (const id of rest) {
    const anchor = nearest(id, feeds, anchors) ?? nearest(id, fedBy, anchors);
    if (anchor === null) continue;
    groupOf.set(id, anchor);
    rest.delete(id);
  }
  const around = neighbours(
    inner.flatMap((link) => [link, { source_handler: link.target_handler, target_handler: link.source_handler }]),
    (link) => [link.source_handler, link.target_handler],
  );
  for (const id of rest) {
    if (groupOf.has(id)) continue;
    for (const member of reachable(id, around, rest)) groupOf.set(member, id);
  }
  const groups = new Map<number, number[]>();
  for (const { handler_id } of handlers) {
    const key = groupOf.get(handler_id)!;
    const members = groups.get(key);
    if (members === undefined) groups.set(key, [handler_id]);
    else members.push(handler_id);
  }
  return [...groups.values()];
}

function neighbours(links: readonly GroupingLink[], ends: (link: GroupingLink) => [number, number]): Neighbours {
  const map = new Map<number, number[]>();
  for (const link of links) {
    const [from, to] = ends(link);
    map.set(from, [...(map.get(from) ?? []), to]);
  }
  return map;
}

/** The first anchor met breadth first from `start`, passing only through handlers that are none. */
function nearest(start: number, next: Neighbours, anchors: ReadonlySet<number>): number | null {
  const seen = new Set([start]);
  const queue = [start];
  for (let id = queue.shift(); id !== undefined; id = queue.shift()) {
    for (const neighbour of next.get(id) ?? []) {
      if (anchors.has(neighbour)) return neighbour;
      if (seen.has(neighbour)) continue;
      seen.add(neighbour);
      queue.push(neighbour);
    }
  }
  return null;
}

function reachable(start: number, next: Neighbours, within: ReadonlySet<number>): Set<number> {
  const seen = new Set([start]);
  for (const id of seen) {
    for (const neighbour of next.get(id) ?? []) if (within.has(neighbour)) seen.add(neighbour);
  }
  return seen;
}
