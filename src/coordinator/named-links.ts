/**
 * A plan with the network that decided it: where the figures of its links come from, and, where they were measured, in a
 * sentence; also for nodes that are ruled out because they are too far. Pure; the placement is the allocator's alone.
 */
import type { PlannedLink, SessionPlan, Snapshot, SnapshotLink } from '../contracts/plan.js';

/** Sentences of one plan. */
const SENTENCES_MAX = 8;

const MEASURED = { link: 'measured on the running link', probe: 'measured by a probe' } as const;

export function withNamedLinks(plan: SessionPlan, snapshot: Snapshot): SessionPlan {
  const paths = new Map(snapshot.links.map((link) => [`${link.source_node}>${link.target_node}`, link]));
  const pathOf = (source: number, target: number) => paths.get(`${source}>${target}`);
  const names = new Map(snapshot.nodes.map((node) => [node.node_id, node.node_name]));
  const sentence = (path: SnapshotLink | undefined, prefix = '') => {
    const from = path?.latency_from;
    if (path === undefined || (from !== 'link' && from !== 'probe')) return [];
    const ends = `${names.get(path.source_node)} -> ${names.get(path.target_node)}`;
    return [`${prefix}${ends}: round trip ${(2 * path.latency_ms).toFixed(1)} ms, ${MEASURED[from]}`];
  };
  const links = plan.links.map((link): PlannedLink => {
    const { latency_from, mbit_from } = pathOf(link.source_node, link.target_node) ?? {};
    return latency_from === undefined || mbit_from === undefined ? link : { ...link, latency_from, mbit_from };
  });
  const used = links.flatMap((link) => sentence(pathOf(link.source_node, link.target_node)));
  const ruledOut = [...tooFar(plan)].flatMap((node) =>
    sentence(pathOf(plan.source_node, node), 'ruled out by latency, '),
  );
  return { ...plan, links, reasons: [...plan.reasons, ...new Set([...used, ...ruledOut].slice(0, SENTENCES_MAX))] };
}

/** Nodes that no handler runs on and that a candidate could not take because it would take too long. */
function tooFar({ handlers }: SessionPlan): Set<number> {
  const used = new Set(handlers.map((handler) => handler.node_id));
  const late = handlers
    .flatMap((handler) => handler.candidates)
    .filter(({ node_id, rejected }) => !used.has(node_id) && rejected?.startsWith('latency') === true);
  return new Set(late.map((candidate) => candidate.node_id));
}
