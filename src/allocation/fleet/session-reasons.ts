/** Why one session's plan is as it is, in sentences that a user reads: variant, latency, each handler's node, warnings. */
import { ACCURACY_EPSILON } from '../bounds.js';
import { combinationCount, highestAccuracy, wantedVariants } from '../variants.js';
import { accuracyText, ms } from '../words.js';
import { type Described, labelOf, wasThere } from './described.js';
import { busyFault, overloadWords, promiseFault, roomFault } from './faults.js';

/** Differences below this are not worth a sentence, ms. */
const SAME_MS = 0.05;

export function reasonsOf(described: Described): string[] {
  if (described.request.service.template !== null) {
    const stands = 'static template: every handler on the node that the service names';
    return [stands, latencyReason(described), ...sharingReasons(described), ...overcommitted(described)];
  }
  const sharing = sharingReasons(described);
  return [variantReason(described), latencyReason(described), ...sharing, ...handlerReasons(described)];
}

function variantReason(described: Described): string {
  const { one, request, placed, better } = described;
  const name = `variant ${labelOf(request, placed)}`;
  const total = combinationCount(wantedVariants(request));
  if (total === 1) return request.variant === undefined ? `${name}: the only one` : `${name}: asked for`;
  const accuracy = accuracyText(placed.accuracy);
  if (better === null) {
    const isTop = placed.accuracy > highestAccuracy(request) - ACCURACY_EPSILON;
    return `${name}: accuracy ${accuracy}, the highest of ${total} variants${isTop ? '' : ' that some node keeps up with'}`;
  }
  const fault = promiseFault(one.fleet, one.task, better) ?? roomFault(one.state, better);
  const why = fault === null ? '' : `: ${fault}`;
  return `${name}: accuracy ${accuracy}, of ${total} variants; not ${labelOf(request, better)} with ${accuracyText(better.accuracy)}${why}`;
}

/** Along the longest path; `spread` is by how much the slowest frames in twenty are above the mean. */
function latencyReason({ request, placed, expected }: Described): string {
  const { p95Ms, stages, links, path } = expected;
  const parts = { compute: 0, waits: 0, links: 0 };
  path.forEach((at, index) => {
    parts.compute += stages[at]!.workMs;
    parts.waits += stages[at]!.waitMs;
    const source = path[index + 1];
    if (source !== undefined) parts.links += links[at]![placed.graph.feeds[at]!.indexOf(source)]!;
  });
  const spread = Math.max(0, p95Ms - parts.compute - parts.waits - parts.links);
  const words = `predicted p95 ${ms(p95Ms)}: compute ${ms(parts.compute)}, queueing ${ms(parts.waits)}, links ${ms(parts.links)}, spread ${ms(spread)}`;
  const bound = request.objective.latency_ms_max;
  if (bound === undefined || !Number.isFinite(placed.latencyMs)) return words;
  return `${words}; ${ms(placed.latencyMs)} of ${ms(bound)} allowed with mean work on nodes and links that are as full as may be promised`;
}

/** Whether each shared model is on its node already, because that may be why the node had room. */
function sharingReasons({ one: { fleet, state }, placed }: Described): string[] {
  return placed.graph.handlers.flatMap(({ handler_name }, at) => {
    const [option, node] = [placed.options[at]!, placed.nodes[at]!];
    const modelMb = fleet.modelMb[option]!;
    if (modelMb === 0) return [];
    const isThere = state.modelUsers[fleet.model[option]! * fleet.nodeCount + node]! > 0;
    const node_name = fleet.nodes[node]!.node_name;
    return isThere
      ? `${handler_name}: its model is loaded on ${node_name} already, which saves ${Math.round(modelMb)} MiB`
      : `${handler_name}: its model is loaded on ${node_name}, ${Math.round(modelMb)} MiB once for all sessions that share it`;
  });
}

function handlerReasons(described: Described): string[] {
  const { one, placed } = described;
  return placed.graph.variant.handlers.map(({ handler_id, handler_name }) => {
    const at = placed.graph.handlers.findIndex((each) => each.handler_id === handler_id);
    return `${handler_name} @${one.fleet.nodes[placed.nodes[at]!]!.node_name}: ${handlerReason(described, at)}`;
  });
}

interface Other {
  readonly node: number;
  readonly latencyMs: number;
}

function handlerReason({ one, placed, rivals, load, expected }: Described, at: number): string {
  const { fleet, task, state } = one;
  const [option, here] = [placed.options[at]!, placed.nodes[at]!];
  const others = rivals.filter((rival) => rival.at === at && rival.option === option && rival.node !== here);
  if (others.every(({ placed: swapped }) => swapped === null))
    return placed.graph.handlers[at]!.at === null ? 'the only node that can run it' : 'pinned';
  const best = others
    .filter(({ fault }) => fault === null)
    .map(({ node, placed: swapped }) => ({ node, latencyMs: load.p95MsWith(swapped!, task.fps) }))
    .reduce<Other | null>(
      (least, rival) => (least === null || rival.latencyMs < least.latencyMs ? rival : least),
      null,
    );
  if (best === null) return 'no other node fits with the rest as planned';
  const other = fleet.nodes[best.node]!.node_name;
  const savedMs = best.latencyMs - expected.p95Ms;
  const stays = wasThere(one, placed, at) ? 'stays, ' : '';
  if (savedMs >= SAME_MS) return `${stays}saves ${ms(savedMs)} against ${other}`;
  if (savedMs > -SAME_MS)
    return stays === '' ? `as fast as ${other}, not more loaded` : `stays, ${other} would not be faster`;
  if (stays !== '') return `stays, ${other} would save ${ms(-savedMs)}`;
  const share = (node: number) => state.used[node]! / fleet.capacity[node]!;
  const isEmptier = share(here) < share(best.node);
  return `${other} would save ${ms(-savedMs)}${isEmptier ? ', and is more loaded' : ', and takes more of what is scarce'}`;
}

/** Where a static template asks for more than there is: said, not refused. */
function overcommitted({ one, placed }: Described): string[] {
  const { state, fleet, task } = one;
  const full = [...placed.resources].filter(
    (resource) =>
      state.needOf(placed, resource) > Math.max(0, state.free(resource)) + 1e-6 &&
      Number.isFinite(fleet.capacity[resource]!),
  );
  const busy = busyFault(fleet, task, placed);
  const words = [...full.map((resource) => overloadWords(state, placed, resource)), ...(busy === null ? [] : [busy])];
  return words.map((fault) => `warning: ${fault}`);
}
