/** One graph of a service in its normal form: every handler with its complete parameters, its costs and its place. */
import { type Blueprint, type BlueprintLink, resolveBlueprint } from './blueprint.js';
import { OrchestratorError } from './errors.js';
import { type Cost, checkShares, type HandlerType, type HandlerTypeRegistry, parseParams } from './handler-type.js';
import type { Alternative, GraphHandler, Variant } from './service.js';
import type { AlternativeFile, ServiceFile, ServiceHandler, VariantFile } from './service-file.js';

export interface GraphFormOptions {
  readonly variant: VariantFile;
  readonly handlers: readonly ServiceHandler[];
  readonly links: readonly BlueprintLink[];
  readonly types: HandlerTypeRegistry;
  readonly place: string;
  readonly warnings: string[];
  /** `share` of the service. */
  readonly serviceShare: boolean | undefined;
}

/** Checks one graph of a service file and fills in what it leaves out. Throws with the place and the reason. */
export function graphForm({
  variant,
  handlers,
  links,
  types,
  place,
  warnings,
  serviceShare,
}: GraphFormOptions): Variant {
  // Defaults are filled in here, so that a plan and the node's profiles know a handler by the same parameters.
  const complete = (type: HandlerType, given: Record<string, unknown>, where: string) => {
    const parsed = parseParams(type, given, where);
    warnings.push(...parsed.warnings);
    return parsed.params;
  };
  const graphHandlers = handlers.map((handler): GraphHandler => {
    const where = `${place}: handler ${handler.handler_id} ${handler.handler_name}`;
    const type = types.get(handler.handler_type, where);
    if (handler.share === true) checkShares(type, where);
    const share = handler.share ?? (type.share !== undefined && (serviceShare ?? type.share));
    const chosen = variant.choose?.[handler.handler_name];
    const listed = (handler.alternatives ?? [{ name: 'default', params: {} }]).filter(
      (one) => chosen === undefined || one.name === chosen,
    );
    return {
      handler_id: handler.handler_id,
      handler_name: handler.handler_name,
      handler_type: type.handler_type_id,
      handler_type_name: type.handler_type_name,
      ...{ post: handler.post === true, share },
      at: placeOf(handler.at),
      require: handler.require ?? {},
      alternatives: listed.map((one: AlternativeFile) => ({
        name: one.name,
        params: complete(type, { ...handler.params, ...one.params }, where),
        // A variant that chooses states the accuracy of the whole chain; factors would count twice.
        accuracy: variant.choose === undefined ? (one.accuracy ?? 1) : 1,
        cost: heldCost({ ...type.cost, ...handler.cost, ...one.cost }, share),
      })),
    };
  });
  // Ports do not depend on the alternative: one blueprint stands for all.
  const { order } = resolveBlueprint(
    blueprintOf(graphHandlers, links, (handler) => handler.alternatives[0]!),
    { types, where: place },
  );
  return {
    variant_name: variant.variant_name,
    accuracy: variant.accuracy,
    dataset: variant.dataset ?? null,
    handlers: graphHandlers,
    links: [...links],
    order,
  };
}

/** A handler host without a model of its own, MiB: what is its own of Node, codecs and the packets at work (bench: 54 to 63). */
const SHARING_HOST_MB = 70;

/** What each session holds and, where the model is shared, what the node holds once: a process like a host that has it. */
function heldCost({ model_mb, ...cost }: Cost, share: boolean): Cost {
  if (!share) return cost;
  return { ...cost, mem_mb: Math.min(cost.mem_mb, SHARING_HOST_MB), model_mb: model_mb ?? cost.mem_mb };
}

/** The blueprint of a graph with one alternative chosen per handler. */
export function blueprintOf(
  handlers: readonly GraphHandler[],
  links: readonly BlueprintLink[],
  choose: (handler: GraphHandler) => Alternative,
): Blueprint {
  return {
    handlers: handlers.map((handler) => ({
      handler_id: handler.handler_id,
      handler_name: handler.handler_name,
      handler_type: handler.handler_type,
      params: choose(handler).params,
      ...(handler.post ? { post: true } : {}),
      ...(handler.share ? { share: true } : {}),
    })),
    links: [...links],
  };
}

function placeOf(at: string | number | undefined): GraphHandler['at'] {
  if (at === undefined) return null;
  if (at === 'source') return { kind: 'source' };
  return typeof at === 'number' ? { kind: 'node', node_id: at } : { kind: 'label', label: at };
}

/** A service that asks for sharing where no handler can share would change nothing, and its author not know. */
export function checkServiceShare(
  { share }: Pick<ServiceFile, 'share'>,
  variants: readonly Variant[],
  types: HandlerTypeRegistry,
  where: string,
): void {
  if (share !== true) return;
  const handlers = variants.flatMap((variant) => variant.handlers);
  const used = [...new Set(handlers.map((handler) => handler.handler_type))].map((id) => types.get(id, where));
  if (used.every((type) => type.share === undefined)) {
    const names = used.map((type) => type.handler_type_name).join(', ');
    throw new OrchestratorError('SHARE_UNSUPPORTED', `${where}: share: none of ${names} can share a model`);
  }
}
