/**
 * Services: what users ask for by name. A file has either the reference's static `template`, or handlers and links
 * without node ids in one or several variants. `normalizeService` brings every form to one: a list of variants, each a
 * graph whose handlers have one or more alternatives.
 */
import type { BlueprintLink } from './blueprint.js';
import { OrchestratorError } from './errors.js';
import type { Cost, HandlerTypeRegistry } from './handler-type.js';
import { parseWith } from './schema.js';
import { type ServiceFile, ServiceFileSchema, type ServiceHandler, type VariantFile } from './service-file.js';
import { checkServiceShare, graphForm } from './service-graph.js';
import { templateForm } from './service-template.js';

/** One way to run one handler: parameters, accuracy factor, declared cost. */
export interface Alternative {
  readonly name: string;
  /** Complete: the handler's own parameters overridden by the alternative's. */
  readonly params: Record<string, unknown>;
  /** Factor of the chain's accuracy, 0..1; 1 where a variant states the accuracy of the whole. */
  readonly accuracy: number;
  readonly cost: Cost;
}

export interface GraphHandler {
  readonly handler_id: number;
  readonly handler_name: string;
  readonly handler_type: number;
  readonly handler_type_name: string;
  readonly post: boolean;
  /** Its models are loaded once on a node for all sessions that share them. */
  readonly share: boolean;
  /** Where it must run: the session's source node, a node id, or a node with a label. */
  readonly at:
    | { readonly kind: 'source' }
    | { readonly kind: 'node'; readonly node_id: number }
    | { readonly kind: 'label'; readonly label: string }
    | null;
  readonly require: { readonly gpu?: boolean; readonly label?: string; readonly mem_mb?: number };
  readonly alternatives: readonly Alternative[];
}

/** One graph of a service. Its accuracy is `accuracy` times the factors of the alternatives that a plan chooses. */
export interface Variant {
  readonly variant_name: string;
  readonly accuracy: number;
  readonly dataset: string | null;
  readonly handlers: readonly GraphHandler[];
  readonly links: readonly BlueprintLink[];
  /** handler_ids, every handler after those that feed it. */
  readonly order: readonly number[];
}

export interface Service {
  readonly service_id: number;
  readonly service_name: string;
  readonly description: string;
  /** Null when the allocator places the handlers; else the fixed placement, tx/rx pairs already made into links. */
  readonly template: readonly { readonly node_id: number; readonly handler_ids: readonly number[] }[] | null;
  readonly variants: readonly Variant[];
  readonly warnings: readonly string[];
}

/** Checks a service file and brings it to its normal form. Throws with the file's name, the place and the reason. */
export function normalizeService(value: unknown, types: HandlerTypeRegistry, where: string): Service {
  const file = parseWith(ServiceFileSchema, value, 'SERVICE_FILE_INVALID', where);
  const forms = [file.template, file.handlers ?? file.variants].filter((form) => form !== undefined);
  if (forms.length !== 1) {
    throw new OrchestratorError('SERVICE_FILE_INVALID', `${where}: needs either "template" or "handlers"/"variants"`);
  }
  const warnings: string[] = [];
  const base = { service_id: file.service_id, service_name: file.service_name, description: file.description ?? '' };
  if (file.template !== undefined) return { ...base, ...templateForm(file, types, where, warnings), warnings };
  const variants = variantForms(file, types, where, warnings);
  checkServiceShare(file, variants, types, where);
  const names = variants.map((variant) => variant.variant_name);
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) {
    throw new OrchestratorError('SERVICE_FILE_INVALID', `${where}: variant_name ${twice} is used twice`);
  }
  return { ...base, template: null, variants, warnings: [...new Set(warnings)] };
}

function variantForms(file: ServiceFile, types: HandlerTypeRegistry, where: string, warnings: string[]): Variant[] {
  const listed = file.variants ?? [{ variant_name: 'default', accuracy: 1 }];
  return listed.map((listedVariant) => {
    const variant: VariantFile = listedVariant;
    const place = `${where}: variant ${variant.variant_name}`;
    const handlers = variant.handlers ?? file.handlers;
    if (handlers === undefined) {
      throw new OrchestratorError('SERVICE_FILE_INVALID', `${place}: has no handlers, nor has the service`);
    }
    const links = variant.links ?? (variant.handlers === undefined ? file.links : undefined) ?? [];
    checkChoice(variant.choose ?? {}, handlers, place);
    return graphForm({ variant, handlers, links, types, place, warnings, serviceShare: file.share });
  });
}

function checkChoice(choose: Record<string, string>, handlers: readonly ServiceHandler[], place: string): void {
  for (const [name, alternative] of Object.entries(choose)) {
    const handler = handlers.find((one) => one.handler_name === name);
    const known = handler?.alternatives?.map((one) => one.name) ?? [];
    if (!known.includes(alternative)) {
      throw new OrchestratorError(
        'SERVICE_FILE_INVALID',
        `${place}: choose.${name} = ${alternative} is not ${handler === undefined ? 'a handler' : `one of ${known.join(', ')}`}`,
      );
    }
  }
}
