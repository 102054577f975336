/**
 * A plan with the network that decided it: where the figures of its links come from, and, where they were measured, in a
 * sentence; also for nodes that are ruled out because they are too far. Pure; the placement is the allocator's alone.
 */
import type { PlannedLink, SessionPlan } from '../contracts/plan.js';
import type { LinkFigures } from './link-figures.js';

/** Sentences of one plan. */
const SENTENCES_MAX = 8;

const MEASURED = { link: 'measured on the running link', probe: 'measured by a probe' } as const;

/** Between two nodes, by node_id; null where a plan has none, as on one node. */
export type LinkBetween = (
  source: number,
  target: number,
) => (LinkFigures & { readonly source_name: string; readonly target_name: string }) | null;

export function withNamedLinks(plan: SessionPlan, between: LinkBetween): SessionPlan {
  const sentence = (source: number, target: number, prefix = '') => {
    const link = between(source, target);
    const from = link?.rtt.from;
    if (link === null || (from !== 'link' && from !== 'probe')) return [];
    const ends = `${link.source_name} -> ${link.target_name}`;
    return [`${prefix}${ends}: round trip ${link.rtt.value.toFixed(1)} ms, ${MEASURED[from]}`];
  };
  const links = plan.links.map((link): PlannedLink => {
    const figures = between(link.source_node, link.target_node);
    return figures === null ? link : { ...link, latency_from: figures.rtt.from, mbit_from: figures.mbit.from };
  });
  const used = links.flatMap((link) => sentence(link.source_node, link.target_node));
  const ruledOut = [...tooFar(plan)].flatMap((node) => sentence(plan.source_node, node, 'ruled out by latency, '));
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
