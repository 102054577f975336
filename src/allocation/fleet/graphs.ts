/**
 * Services as numbered graphs: handlers in topological order, and all alternatives of all handlers of all variants as
 * options, numbered in one row. The order of options is that of services, variants, handlers and alternatives.
 */
import type { FleetHandler, FleetService, FleetVariant } from '../../contracts/fleet.js';

/** One variant of one service; handlers in topological order, called by their place in it. */
export interface Graph {
  readonly service: FleetService;
  readonly variant: FleetVariant;
  readonly handlers: readonly FleetHandler[];
  /** Per handler, those that feed it: one entry per link. */
  readonly feeds: readonly (readonly number[])[];
  /** Per handler, whether its only input is the handler before it, in a network of hubs: the hub step applies. */
  readonly chained: readonly boolean[];
  /** Per handler, whether nothing comes after it on its path. */
  readonly ends: readonly boolean[];
  /** Per handler, the index of its first option; options of one handler follow each other. */
  readonly firstOption: Int32Array;
  readonly optionCount: Int32Array;
  readonly lnAccuracy: number;
  /** Best ln accuracy of this handler and all later ones; [handlers] is 0. */
  readonly lnAccuracyRest: Float64Array;
  /** Worst of the same. */
  readonly lnAccuracyRestWorst: Float64Array;
}

export interface OptionPlace {
  readonly handler: FleetHandler;
  readonly alternative: FleetHandler['alternatives'][number];
}

/** Options in the order in which graphsOf numbers them. */
export function optionsOf(services: readonly FleetService[]): OptionPlace[] {
  return services.flatMap(({ variants }) =>
    variants.flatMap((variant) =>
      inOrder(variant).flatMap((handler) => handler.alternatives.map((alternative) => ({ handler, alternative }))),
    ),
  );
}

/** By service_name, its variants. `isTree`: no paths overrule the hubs. */
export function graphsOf(
  services: readonly FleetService[],
  lnAccuracy: Float64Array,
  isTree: boolean,
): Map<string, Graph[]> {
  let next = 0;
  const graphs = new Map<string, Graph[]>();
  for (const service of services) {
    const made = service.variants.map((variant) => {
      const handlers = inOrder(variant);
      const at = new Map(handlers.map((one, index) => [one.handler_id, index]));
      const feeds = handlers.map((one) =>
        variant.links
          .filter((link) => link.target_handler === one.handler_id)
          .map((link) => at.get(link.source_handler)!),
      );
      const firstOption = new Int32Array(handlers.length);
      const optionCount = Int32Array.from(handlers, (one) => one.alternatives.length);
      for (const [index, one] of handlers.entries()) {
        firstOption[index] = next;
        next += one.alternatives.length;
      }
      const best = new Float64Array(handlers.length + 1);
      const worst = new Float64Array(handlers.length + 1);
      for (let index = handlers.length - 1; index >= 0; index--) {
        const factors = lnAccuracy.subarray(firstOption[index]!, firstOption[index]! + optionCount[index]!);
        best[index] = best[index + 1]! + Math.max(...factors);
        worst[index] = worst[index + 1]! + Math.min(...factors);
      }
      return {
        ...{
          service,
          variant,
          handlers,
          feeds,
          firstOption,
          optionCount,
          lnAccuracyRest: best,
          lnAccuracyRestWorst: worst,
        },
        chained: feeds.map((one, index) => isTree && one.length === 1 && one[0] === index - 1),
        ends: handlers.map((_, index) => !feeds.some((one) => one.includes(index))),
        lnAccuracy: Math.log(variant.accuracy),
      };
    });
    graphs.set(service.service_name, made);
  }
  return graphs;
}

/** Every handler after those that feed it; in the file's order otherwise. The snapshot was checked: there is no cycle. */
export function inOrder({ handlers, links }: FleetVariant): FleetHandler[] {
  const waiting = new Map(
    handlers.map((one) => [one.handler_id, links.filter((link) => link.target_handler === one.handler_id).length]),
  );
  const ordered: FleetHandler[] = [];
  while (ordered.length < handlers.length) {
    const ready = handlers.find((one) => waiting.get(one.handler_id) === 0);
    if (ready === undefined) return ordered;
    ordered.push(ready);
    waiting.delete(ready.handler_id);
    for (const link of links) {
      const left = waiting.get(link.target_handler);
      if (link.source_handler === ready.handler_id && left !== undefined) waiting.set(link.target_handler, left - 1);
    }
  }
  return ordered;
}
