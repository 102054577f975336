/**
 * Names of variants and the order in which combinations of alternatives are tried: from the most accurate down, so that
 * the first accuracy with a placement is the answer. Combinations are made one at a time: their number is a product.
 */
import { OrchestratorError } from '../contracts/errors.js';
import type { PlanRequest } from '../contracts/plan.js';
import type { GraphHandler, Service, Variant } from '../contracts/service.js';
import { SURVEY_MAX } from './bounds.js';
import type { Graph } from './graph.js';

/** A variant to plan; `only` holds, per handler_id, the one alternative that a forced name allows. */
export interface Wanted {
  readonly variant: Variant;
  readonly only: ReadonlyMap<number, string> | null;
}

/** Alternative index per handler, in the graph's order. */
export interface Combination {
  readonly graph: Graph;
  readonly choice: readonly number[];
  readonly accuracy: number;
}

const isChoice = (handler: GraphHandler): boolean =>
  handler.alternatives.length > 1 || handler.alternatives[0]?.name !== 'default';

/** `ssd+faceres`: the chosen alternatives in the file's order; empty when the variant has none to choose from. */
function joinedNames(variant: Variant, nameOf: (handler: GraphHandler) => string): string {
  return variant.handlers.filter(isChoice).map(nameOf).join('+');
}

/** A plan's `variant`: the joined names where alternatives leave a choice, else variant_name. */
export function variantLabel(service: Service, variant: Variant, nameOf: (handler: GraphHandler) => string): string {
  if (!hasChoice(variant)) return variant.variant_name;
  const joined = joinedNames(variant, nameOf);
  return service.variants.filter(hasChoice).length > 1 ? `${variant.variant_name}/${joined}` : joined;
}

const hasChoice = (variant: Variant): boolean => variant.handlers.some((handler) => handler.alternatives.length > 1);

export function combinationLabel(service: Service, { graph, choice }: Pick<Combination, 'graph' | 'choice'>): string {
  const names = new Map(graph.handlers.map((one, at) => [one.handler_id, one.alternatives[choice[at]!]!.name]));
  return variantLabel(service, graph.variant, (handler) => names.get(handler.handler_id)!);
}

/** The variants that a request allows. Throws VARIANT_NOT_FOUND with the known names. */
export function wantedVariants({ service, variant: name }: PlanRequest): Wanted[] {
  if (name === undefined) return service.variants.map((variant) => ({ variant, only: null }));
  const named = service.variants.filter((variant) => variant.variant_name === name);
  if (named.length > 0) return named.map((variant) => ({ variant, only: null }));
  const found = service.variants.flatMap((variant) => {
    const prefix = `${variant.variant_name}/`;
    const only =
      chosenBy(variant, name) ?? (name.startsWith(prefix) ? chosenBy(variant, name.slice(prefix.length)) : null);
    return only === null ? [] : [{ variant, only }];
  });
  if (found.length > 0) return found;
  const known = knownNames(service);
  throw new OrchestratorError(
    'VARIANT_NOT_FOUND',
    `service ${service.service_name} has no variant ${name}; known: ${known.join(', ')}`,
    { service: service.service_name, variant: name, known },
  );
}

/** Reads joined names back; null when they are not of this variant. Names may themselves hold a `+`. */
function chosenBy(variant: Variant, name: string): Map<number, string> | null {
  const choices = variant.handlers.filter(isChoice);
  const read = (index: number, rest: string): [number, string][] | null => {
    const handler = choices[index];
    if (handler === undefined) return null;
    const last = index === choices.length - 1;
    for (const alternative of handler.alternatives) {
      if (last && rest === alternative.name) return [[handler.handler_id, alternative.name]];
      if (last || !rest.startsWith(`${alternative.name}+`)) continue;
      const tail = read(index + 1, rest.slice(alternative.name.length + 1));
      if (tail !== null) return [[handler.handler_id, alternative.name], ...tail];
    }
    return null;
  };
  const chosen = read(0, name);
  return chosen === null ? null : new Map(chosen);
}

function knownNames(service: Service): string[] {
  const names = new Set(service.variants.map((variant) => variant.variant_name));
  for (const variant of service.variants.filter(hasChoice)) {
    const choices = variant.handlers.filter(isChoice);
    let joined = [''];
    for (const handler of choices) {
      const grown = joined.flatMap((head) =>
        handler.alternatives.map((one) => (head === '' ? one.name : `${head}+${one.name}`)),
      );
      joined = grown.slice(0, SURVEY_MAX);
    }
    for (const one of joined) names.add(one);
  }
  return [...names].slice(0, SURVEY_MAX);
}

/** How many combinations the wanted variants have, possible or not. */
export function combinationCount(wanted: readonly Wanted[]): number {
  return wanted.reduce(
    (sum, { variant, only }) =>
      sum + (only !== null ? 1 : variant.handlers.reduce((product, one) => product * one.alternatives.length, 1)),
    0,
  );
}

interface Pending {
  readonly ranks: readonly number[];
  /** Only this position and later ones are stepped on, so that every combination is made once. */
  readonly from: number;
  readonly accuracy: number;
}

/** Combinations of one graph, most accurate first, without alternatives that no node can run. */
export function* combinationsOf(graph: Graph, only: Wanted['only']): Generator<Combination> {
  const ranked = graph.handlers.map((handler, at) => {
    const forced = only?.get(handler.handler_id);
    return handler.alternatives
      .map((alternative, index) => ({ index, accuracy: alternative.accuracy, name: alternative.name }))
      .filter(
        ({ index, name }) =>
          (forced === undefined || name === forced) && graph.options[at]![index]!.possible.length > 0,
      )
      .sort((a, b) => b.accuracy - a.accuracy || a.index - b.index);
  });
  if (ranked.some((one) => one.length === 0)) return;
  const accuracyOf = (ranks: readonly number[]): number =>
    ranks.reduce((product, rank, at) => product * ranked[at]![rank]!.accuracy, graph.variant.accuracy);
  const first = ranked.map(() => 0);
  const pending: Pending[] = [{ ranks: first, from: 0, accuracy: accuracyOf(first) }];
  for (let next = pending.shift(); next !== undefined; next = pending.shift()) {
    const { ranks, from, accuracy } = next;
    yield { graph, choice: ranks.map((rank, at) => ranked[at]![rank]!.index), accuracy };
    for (let at = from; at < ranks.length; at++) {
      if (ranks[at]! + 1 >= ranked[at]!.length) continue;
      const stepped = ranks.map((rank, index) => (index === at ? rank + 1 : rank));
      insert(pending, { ranks: stepped, from: at, accuracy: accuracyOf(stepped) });
    }
  }
}

/** Keeps `pending` in order of accuracy, older ones first among equals. */
function insert(pending: Pending[], one: Pending): void {
  let low = 0;
  let high = pending.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (pending[middle]!.accuracy >= one.accuracy) low = middle + 1;
    else high = middle;
  }
  pending.splice(low, 0, one);
}

/** Combinations of all graphs merged, most accurate first; among equals in the file's order. */
export function* mergedCombinations(parts: readonly { graph: Graph; only: Wanted['only'] }[]): Generator<Combination> {
  const sources = parts.map(({ graph, only }) => combinationsOf(graph, only));
  const heads = sources.map((source) => source.next());
  for (;;) {
    let best = -1;
    heads.forEach((head, index) => {
      if (head.done === true) return;
      const leader = heads[best];
      if (leader === undefined || leader.done === true || head.value.accuracy > leader.value.accuracy) best = index;
    });
    const head = heads[best];
    if (head === undefined || head.done === true) return;
    heads[best] = sources[best]!.next();
    yield head.value;
  }
}
