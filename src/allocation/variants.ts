/** Names of variants, and which of them a request allows. */
import { OrchestratorError } from '../contracts/errors.js';
import type { PlanRequest } from '../contracts/plan.js';
import type { GraphHandler, Service, Variant } from '../contracts/service.js';
import { SURVEY_MAX } from './bounds.js';

/** A variant to plan; `only` holds, per handler_id, the one alternative that a forced name allows. */
export interface Wanted {
  readonly variant: Variant;
  readonly only: ReadonlyMap<number, string> | null;
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

/** Of all combinations that the request allows, possible or not. */
export function highestAccuracy(request: PlanRequest): number {
  const factor = ({ handler_id, alternatives }: GraphHandler, { only }: Wanted) => {
    const forced = only?.get(handler_id);
    return Math.max(
      ...alternatives.map(({ name, accuracy }) => (forced === undefined || name === forced ? accuracy : 0)),
    );
  };
  const products = wantedVariants(request).map((wanted) =>
    wanted.variant.handlers.reduce((product, one) => product * factor(one, wanted), wanted.variant.accuracy),
  );
  return Math.max(...products);
}
