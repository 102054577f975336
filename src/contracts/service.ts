/**
 * Services: what users ask for by name. A file has either the reference's static `template`, or handlers and links
 * without node ids in one or several variants. `normalizeService` brings every form to one: a list of variants, each a
 * graph whose handlers have one or more alternatives.
 */
import Type, { type Static } from '#vendor/typebox.js';
import {
  type Blueprint,
  type BlueprintHandlerSchema,
  type BlueprintLink,
  BlueprintLinkSchema,
  BlueprintSchema,
  HandlerTypeRefSchema,
  resolveBlueprint,
  ShareSchema,
} from './blueprint.js';
import { OrchestratorError } from './errors.js';
import {
  type Cost,
  CostSchema,
  checkShares,
  type HandlerType,
  type HandlerTypeRegistry,
  parseParams,
} from './handler-type.js';
import { HANDLERS_MAX } from './limits.js';
import { parseWith } from './schema.js';

const AccuracySchema = Type.Number({ exclusiveMinimum: 0, maximum: 1 });

export const AlternativeSchema = Type.Object(
  {
    name: Type.String({ minLength: 1 }),
    params: Type.Record(Type.String(), Type.Unknown(), { default: {} }),
    accuracy: Type.Optional(AccuracySchema),
    cost: Type.Optional(Type.Partial(CostSchema)),
  },
  { additionalProperties: false },
);

export const ServiceHandlerSchema = Type.Object(
  {
    handler_id: Type.Integer({ minimum: 0 }),
    handler_name: Type.String({ minLength: 1 }),
    handler_type: HandlerTypeRefSchema,
    params: Type.Record(Type.String(), Type.Unknown(), { default: {} }),
    post: Type.Optional(Type.Boolean()),
    share: Type.Optional(ShareSchema),
    at: Type.Optional(
      Type.Union([Type.String({ minLength: 1 }), Type.Integer({ minimum: 0 })], {
        description: '"source" (the session\'s source node), a node_id, or a label that the node must have',
      }),
    ),
    require: Type.Optional(
      Type.Object(
        {
          gpu: Type.Optional(Type.Boolean()),
          label: Type.Optional(Type.String()),
          mem_mb: Type.Optional(Type.Number({ minimum: 0 })),
        },
        { additionalProperties: false },
      ),
    ),
    cost: Type.Optional(Type.Partial(CostSchema)),
    alternatives: Type.Optional(Type.Array(AlternativeSchema, { minItems: 1, maxItems: 16 })),
  },
  { additionalProperties: false },
);
export type ServiceHandler = Static<typeof ServiceHandlerSchema>;

/** Either picks one alternative per handler by name (`choose`), or spells out its own handlers and links. */
export const VariantFileSchema = Type.Object(
  {
    variant_name: Type.String({ minLength: 1 }),
    accuracy: AccuracySchema,
    dataset: Type.Optional(Type.String({ description: 'What the accuracy was measured on' })),
    choose: Type.Optional(Type.Record(Type.String(), Type.String())),
    handlers: Type.Optional(Type.Array(ServiceHandlerSchema, { minItems: 1, maxItems: HANDLERS_MAX })),
    links: Type.Optional(Type.Array(BlueprintLinkSchema)),
  },
  { additionalProperties: false },
);

export const ServiceFileSchema = Type.Object(
  {
    service_id: Type.Integer({ minimum: 0 }),
    service_name: Type.String({ minLength: 1 }),
    description: Type.Optional(Type.String()),
    share: Type.Optional(
      Type.Boolean({ description: '`share` of every handler that does not say it itself and whose type can share' }),
    ),
    template: Type.Optional(
      Type.Array(
        Type.Object(
          { node_id: Type.Integer({ minimum: 0 }), blueprint: BlueprintSchema },
          { additionalProperties: false },
        ),
        { minItems: 1 },
      ),
    ),
    handlers: Type.Optional(Type.Array(ServiceHandlerSchema, { minItems: 1, maxItems: HANDLERS_MAX })),
    links: Type.Optional(Type.Array(BlueprintLinkSchema)),
    variants: Type.Optional(Type.Array(VariantFileSchema, { minItems: 1, maxItems: 64 })),
  },
  { additionalProperties: false },
);
export type ServiceFile = Static<typeof ServiceFileSchema>;

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
    const variant: Static<typeof VariantFileSchema> = listedVariant;
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

/** A service that asks for sharing where no handler can share would change nothing, and its author not know. */
function checkServiceShare(
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

interface GraphFormOptions {
  readonly variant: Static<typeof VariantFileSchema>;
  readonly handlers: readonly ServiceHandler[];
  readonly links: readonly BlueprintLink[];
  readonly types: HandlerTypeRegistry;
  readonly place: string;
  readonly warnings: string[];
  /** `share` of the service. */
  readonly serviceShare: boolean | undefined;
}

function graphForm({ variant, handlers, links, types, place, warnings, serviceShare }: GraphFormOptions): Variant {
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
      alternatives: listed.map((one: Static<typeof AlternativeSchema>) => ({
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

/** A handler host without a model of its own, MiB: Node, codecs and the packets at work. */
const SHARING_HOST_MB = 110;

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

const TX = 0;
const RX = 1;

interface TxRx {
  readonly node_id: number;
  readonly handler_id: number;
  readonly addr: string;
  readonly port: number;
}

/**
 * A static template. The reference joins nodes by a tx handler on one and an rx on the other; here each such pair
 * becomes a link from what feeds the tx to what the rx feeds. Pairs are matched by the tx's `port` to the rx's `port`
 * when both are given, else in the order in which they stand.
 */
function templateForm(
  { template = [], share }: ServiceFile,
  types: HandlerTypeRegistry,
  where: string,
  warnings: string[],
): Pick<Service, 'template' | 'variants'> {
  const senders: TxRx[] = [];
  const receivers: TxRx[] = [];
  const handlers: Static<typeof BlueprintHandlerSchema>[] = [];
  const links: BlueprintLink[] = [];
  const placement: { node_id: number; handler_ids: number[] }[] = [];
  for (const { node_id, blueprint } of template) {
    const handler_ids: number[] = [];
    for (const handler of blueprint.handlers) {
      const type = types.get(handler.handler_type, `${where}: node ${node_id}: handler ${handler.handler_id}`);
      const end = {
        node_id,
        handler_id: handler.handler_id,
        addr: String(handler.params.addr ?? ''),
        port: Number(handler.params.port ?? 0),
      };
      if (type.handler_type_id === TX) senders.push(end);
      else if (type.handler_type_id === RX) receivers.push(end);
      else {
        handlers.push(handler);
        handler_ids.push(handler.handler_id);
      }
    }
    links.push(...blueprint.links);
    placement.push({ node_id, handler_ids });
  }
  const joined = joinTxRx(senders, receivers, links, where);
  const variant = graphForm({
    variant: { variant_name: 'template', accuracy: 1 },
    handlers: handlers.map((handler) => ({
      ...handler,
      at: placement.find((part) => part.handler_ids.includes(handler.handler_id))!.node_id,
    })),
    links: joined,
    types,
    place: where,
    warnings,
    serviceShare: share,
  });
  checkServiceShare({ share }, [variant], types, where);
  return { template: placement, variants: [variant] };
}

function joinTxRx(
  senders: readonly TxRx[],
  receivers: readonly TxRx[],
  links: readonly BlueprintLink[],
  where: string,
): BlueprintLink[] {
  const ends = new Set([...senders, ...receivers].map((end) => end.handler_id));
  const joined = links.filter((link) => !ends.has(link.source_handler) && !ends.has(link.target_handler));
  const free = [...receivers];
  for (const sender of senders) {
    const match =
      free.findIndex((one) => one.node_id !== sender.node_id && sender.port !== 0 && one.port === sender.port) >= 0
        ? free.findIndex((one) => one.node_id !== sender.node_id && one.port === sender.port)
        : free.findIndex((one) => one.node_id !== sender.node_id);
    const receiver = free.splice(match, match >= 0 ? 1 : 0)[0];
    const feed = links.find((link) => link.target_handler === sender.handler_id);
    if (receiver === undefined || feed === undefined) {
      throw new OrchestratorError(
        'SERVICE_FILE_INVALID',
        `${where}: tx handler ${sender.handler_id} on node ${sender.node_id} ${feed === undefined ? 'has no link' : 'has no rx on another node'}`,
      );
    }
    for (const out of links.filter((link) => link.source_handler === receiver.handler_id)) {
      joined.push({ ...out, source_handler: feed.source_handler, source_output: feed.source_output });
    }
  }
  if (free.length > 0) {
    const rest = free.map((one) => `${one.handler_id} on node ${one.node_id}`).join(', ');
    throw new OrchestratorError('SERVICE_FILE_INVALID', `${where}: rx handler ${rest} has no tx on another node`);
  }
  return joined;
}
