/** A placed session as its sentences are made from it. */
import type { PlanRequest } from '../../contracts/plan.js';
import { variantLabel } from '../variants.js';
import type { Expected, Load } from './expected.js';
import type { OneSession } from './one-session.js';
import type { Rival } from './rivals.js';
import type { Placed } from './state.js';

/** Taken out of the state again, so that what it takes is free for its rivals. */
export interface Described {
  readonly one: OneSession;
  readonly request: PlanRequest;
  readonly placed: Placed;
  /** Of the others. */
  readonly load: Load;
  readonly expected: Expected;
  readonly rivals: readonly Rival[];
  /** A more accurate placement that breaks a promise or has no room; null when there is none. */
  readonly better: Placed | null;
}

/** The variant's name, or the joined names of the chosen alternatives. */
export function labelOf({ service }: PlanRequest, { graph, options }: Placed): string {
  const variant = service.variants.find((each) => each.variant_name === graph.variant.variant_name)!;
  const names = new Map(graph.handlers.map((one, at) => [one.handler_id, nameAt({ graph, options }, at)]));
  return variantLabel(service, variant, (handler) => names.get(handler.handler_id)!);
}

export function nameAt({ graph, options }: Pick<Placed, 'graph' | 'options'>, at: number): string {
  return graph.handlers[at]!.alternatives[options[at]! - graph.firstOption[at]!]!.name;
}

/** Whether the handler ran there before, in the same alternative. */
export function wasThere({ task, fleet }: OneSession, placed: Placed, at: number): boolean {
  const before = task.session.previous?.find(({ handler_id }) => handler_id === placed.graph.handlers[at]!.handler_id);
  return before?.node_id === fleet.nodes[placed.nodes[at]!]!.node_id && before.alternative === nameAt(placed, at);
}
