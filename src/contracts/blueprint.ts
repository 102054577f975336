/** A blueprint is a node's share of a session: handlers and links. Both the reference's form and the form on our own wire. */
import Type, { type Static } from '#vendor/typebox.js';
import { OrchestratorError } from './errors.js';
import { checkShares, type HandlerType, type HandlerTypeRegistry, parseParams } from './handler-type.js';
import { HANDLERS_MAX } from './limits.js';

export const HandlerTypeRefSchema = Type.Union([Type.Integer({ minimum: 0 }), Type.String({ minLength: 1 })]);

export const DeliverySchema = Type.Enum(['latest', 'all']);

export const ShareSchema = Type.Boolean({
  description: 'True: its models are loaded once on a node, for all sessions that run them there with `share`',
});

export const BlueprintHandlerSchema = Type.Object(
  {
    handler_id: Type.Integer({ minimum: 0 }),
    handler_name: Type.String({ minLength: 1 }),
    handler_type: HandlerTypeRefSchema,
    params: Type.Record(Type.String(), Type.Unknown(), { default: {} }),
    post: Type.Optional(
      Type.Boolean({ description: 'Inputs without a link are fed by POST; without it they are an error' }),
    ),
    share: Type.Optional(ShareSchema),
  },
  { additionalProperties: false },
);
export type BlueprintHandler = Static<typeof BlueprintHandlerSchema>;

export const BlueprintLinkSchema = Type.Object(
  {
    source_handler: Type.Integer({ minimum: 0 }),
    source_output: Type.Integer({ minimum: 0, default: 0 }),
    target_handler: Type.Integer({ minimum: 0 }),
    target_input: Type.Integer({ minimum: 0, default: 0 }),
    delivery: Type.Optional(
      Type.Enum(['latest', 'all'], { description: "Of this link alone; the session's when absent" }),
    ),
  },
  { additionalProperties: false },
);
export type BlueprintLink = Static<typeof BlueprintLinkSchema>;

/** The reference's blueprint. */
export const BlueprintSchema = Type.Object(
  {
    handlers: Type.Array(BlueprintHandlerSchema, { minItems: 1, maxItems: HANDLERS_MAX }),
    links: Type.Array(BlueprintLinkSchema, { default: [] }),
  },
  { additionalProperties: false },
);
export type Blueprint = Static<typeof BlueprintSchema>;

/**
 * A link as a node sees it. Links whose two ends are on this node have no address. For a link that comes from another
 * node, `source_url` is that node's address, which this side dials; for one that goes to another node, the other side dials.
 * When the source's node takes no connections it is the other way round: it has `target_url`, and the target is `awaited`.
 */
export const NodeLinkSchema = Type.Object(
  {
    ...BlueprintLinkSchema.properties,
    source_node: Type.Integer({ minimum: 0 }),
    target_node: Type.Integer({ minimum: 0 }),
    source_url: Type.Optional(Type.String({ description: 'http://host:port of the node that has source_handler' })),
    target_url: Type.Optional(
      Type.String({ description: 'http://host:port of the node that has target_handler: this side dials it' }),
    ),
    awaited: Type.Optional(Type.Boolean({ description: 'The other side dials' })),
  },
  { additionalProperties: false },
);
export type NodeLink = Static<typeof NodeLinkSchema>;

/** What the coordinator wants of one session on one node: body of `PUT /v1/sessions/:id` on the node. */
export const NodeSessionSchema = Type.Object(
  {
    session_id: Type.Integer({ minimum: 0 }),
    epoch: Type.Integer({
      minimum: 0,
      description: 'Fencing number of the coordinator; grows with every coordinator start',
    }),
    generation: Type.Integer({
      minimum: 0,
      description: 'Version of the plan of this session; grows with every change',
    }),
    desired: Type.Enum(['ready', 'running', 'stopped'], {
      description: 'ready: models loaded, sources silent; running: frames flow; stopped: drained and ended',
    }),
    node_id: Type.Integer({ minimum: 0, description: 'The node that this share is for' }),
    created_at: Type.Optional(
      Type.Number({ minimum: 0, description: 'When the session was created, s; tells sessions of one number apart' }),
    ),
    delivery: DeliverySchema,
    latency_ms_max: Type.Optional(
      Type.Number({ exclusiveMinimum: 0, description: 'Deadline of packets under latest, ms' }),
    ),
    handlers: Type.Array(BlueprintHandlerSchema, { maxItems: HANDLERS_MAX }),
    links: Type.Array(NodeLinkSchema),
  },
  { additionalProperties: false },
);
export type NodeSession = Static<typeof NodeSessionSchema>;

/** A handler whose type is resolved and whose parameters are complete. */
export interface ResolvedHandler {
  readonly handler: BlueprintHandler;
  readonly type: HandlerType;
  readonly params: Record<string, unknown>;
}

export interface ResolvedBlueprint {
  readonly handlers: ReadonlyMap<number, ResolvedHandler>;
  readonly links: readonly BlueprintLink[];
  readonly warnings: readonly string[];
  /** handler_ids, every handler after those that feed it. */
  readonly order: readonly number[];
}

export interface ResolveOptions {
  readonly types: HandlerTypeRegistry;
  /** Where the blueprint comes from, for messages. */
  readonly where: string;
  /** A node's share has links to handlers on other nodes: those are not followed, and open inputs are not an error. */
  readonly partial?: boolean;
}

/** Checks everything that can be known before a start: ids, types, parameters, ports, payload types, cycles. */
export function resolveBlueprint(blueprint: Blueprint, options: ResolveOptions): ResolvedBlueprint {
  const handlers = new Map<number, ResolvedHandler>();
  const warnings: string[] = [];
  for (const handler of blueprint.handlers) {
    const where = `${options.where}: handler ${handler.handler_id} ${handler.handler_name}`;
    if (handlers.has(handler.handler_id)) {
      throw new OrchestratorError('HANDLER_DUPLICATE', `${where}: handler_id ${handler.handler_id} is used twice`, {
        handler_id: handler.handler_id,
      });
    }
    const type = options.types.get(handler.handler_type, where);
    if (handler.share === true) checkShares(type, where);
    const parsed = parseParams(type, handler.params, where);
    warnings.push(...parsed.warnings);
    handlers.set(handler.handler_id, { handler, type, params: parsed.params });
  }
  checkLinks(blueprint.links, handlers, options);
  if (options.partial !== true) checkOpenInputs(blueprint.links, handlers, options.where);
  return {
    handlers,
    links: blueprint.links,
    warnings,
    order: topologicalOrder(blueprint.links, handlers, options.where),
  };
}

function checkLinks(
  links: readonly BlueprintLink[],
  handlers: ReadonlyMap<number, ResolvedHandler>,
  { where, partial }: ResolveOptions,
): void {
  const fed = new Set<string>();
  for (const link of links) {
    const name = `${where}: link ${link.source_handler}.${link.source_output} -> ${link.target_handler}.${link.target_input}`;
    const source = handlers.get(link.source_handler);
    const target = handlers.get(link.target_handler);
    for (const [id, end] of [
      [link.source_handler, source],
      [link.target_handler, target],
    ] as const) {
      if (end === undefined && !(partial === true && (source ?? target) !== undefined)) {
        throw new OrchestratorError('LINK_UNKNOWN_HANDLER', `${name}: no handler has id ${id}`, { link });
      }
    }
    const output = source?.type.outputs[link.source_output];
    const input = target?.type.inputs[link.target_input];
    if (source !== undefined && output === undefined)
      throw unknownPort(name, source.type, 'output', link.source_output, link);
    if (target !== undefined && input === undefined)
      throw unknownPort(name, target.type, 'input', link.target_input, link);
    if (output !== undefined && input !== undefined && !input.accepts.includes(output.emits)) {
      throw new OrchestratorError(
        'LINK_TYPE_MISMATCH',
        `${name}: ${source?.type.handler_type_name} emits ${output.emits}, ${target?.type.handler_type_name} input ${link.target_input} accepts ${input.accepts.join(' or ')}`,
        { link },
      );
    }
    const key = `${link.target_handler}.${link.target_input}`;
    if (fed.has(key)) {
      throw new OrchestratorError('LINK_DUPLICATE_INPUT', `${name}: input ${key} already has a link`, { link });
    }
    fed.add(key);
  }
}

function unknownPort(name: string, type: HandlerType, kind: 'input' | 'output', index: number, link: BlueprintLink) {
  const count = kind === 'input' ? type.inputs.length : type.outputs.length;
  return new OrchestratorError(
    'LINK_UNKNOWN_PORT',
    `${name}: ${type.handler_type_name} has ${count} ${kind}${count === 1 ? '' : 's'}, no ${kind} ${index}`,
    { link },
  );
}

/** Throws PORT_UNLINKED for an input that nothing feeds. */
export function checkOpenInputs(
  links: readonly BlueprintLink[],
  handlers: ReadonlyMap<number, ResolvedHandler>,
  where: string,
): void {
  const fed = new Set(links.map((link) => `${link.target_handler}.${link.target_input}`));
  for (const { handler, type } of handlers.values()) {
    type.inputs.forEach((input, index) => {
      if (fed.has(`${handler.handler_id}.${index}`) || handler.post === true) return;
      throw new OrchestratorError(
        'PORT_UNLINKED',
        `${where}: handler ${handler.handler_id} ${handler.handler_name}: input ${index} (${input.name}) has no link`,
        { handler_id: handler.handler_id, input: index },
      );
    });
  }
}

function topologicalOrder(
  links: readonly BlueprintLink[],
  handlers: ReadonlyMap<number, ResolvedHandler>,
  where: string,
): number[] {
  const inner = links.filter((link) => handlers.has(link.source_handler) && handlers.has(link.target_handler));
  const waiting = new Map([...handlers.keys()].map((id) => [id, 0]));
  for (const link of inner) waiting.set(link.target_handler, waiting.get(link.target_handler)! + 1);
  const ready = [...waiting].filter(([, count]) => count === 0).map(([id]) => id);
  const order: number[] = [];
  for (let id = ready.shift(); id !== undefined; id = ready.shift()) {
    order.push(id);
    for (const link of inner.filter((one) => one.source_handler === id)) {
      const left = waiting.get(link.target_handler)! - 1;
      waiting.set(link.target_handler, left);
      if (left === 0) ready.push(link.target_handler);
    }
  }
  if (order.length < handlers.size) {
    const stuck = [...handlers.keys()].filter((id) => !order.includes(id));
    throw new OrchestratorError('GRAPH_CYCLE', `${where}: handlers ${stuck.join(', ')} form a cycle`, {
      handlers: stuck,
    });
  }
  return order;
}
