/** What a handler type is to the rest of the system: ports, parameters, default cost. The code behind it is elsewhere. */
import Type, { type Static, type TSchema, Value } from '#vendor/typebox.js';
import { OrchestratorError } from './errors.js';
import { PAYLOAD_TYPES } from './packet.js';
import { schemaFaults } from './schema.js';

const PayloadTypeSchema = Type.Enum([...PAYLOAD_TYPES]);

/** Need of one handler per packet on a node of speed 1 (see NodeFacts.speed). */
export const CostSchema = Type.Object(
  {
    cpu_ms: Type.Number({ minimum: 0, default: 1, description: 'CPU time per packet on a node of speed 1, ms' }),
    gpu_ms: Type.Number({ minimum: 0, default: 0, description: 'GPU time per packet on a node of speed 1, ms' }),
    mem_mb: Type.Number({ minimum: 0, default: 64, description: 'Resident memory of the handler with its model, MiB' }),
    model_mb: Type.Optional(
      Type.Number({
        minimum: 0,
        description: 'Memory of the process that holds the models where sessions share them, MiB; mem_mb when absent',
      }),
    ),
    out_bytes: Type.Integer({ minimum: 0, default: 1024, description: 'Bytes of one output packet on a link' }),
  },
  { additionalProperties: false },
);
export type Cost = Static<typeof CostSchema>;

export const InputPortSchema = Type.Object(
  { name: Type.String(), accepts: Type.Array(PayloadTypeSchema, { minItems: 1 }) },
  { additionalProperties: false },
);
export type InputPort = Static<typeof InputPortSchema>;

export const OutputPortSchema = Type.Object(
  { name: Type.String(), emits: PayloadTypeSchema },
  { additionalProperties: false },
);
export type OutputPort = Static<typeof OutputPortSchema>;

/** A file in handler_type_path: declares a custom type, or other default costs of a built-in one. */
export const HandlerTypeFileSchema = Type.Object(
  {
    handler_type_id: Type.Integer({ minimum: 0 }),
    handler_type_name: Type.String({ minLength: 1 }),
    description: Type.Optional(Type.String()),
    inputs: Type.Optional(Type.Array(InputPortSchema)),
    outputs: Type.Optional(Type.Array(OutputPortSchema)),
    cost: Type.Optional(CostSchema),
    share: Type.Optional(
      Type.Boolean({
        description: 'What handlers of this type do whose service does not say `share`; false when absent',
      }),
    ),
  },
  { additionalProperties: false },
);
export type HandlerTypeFile = Static<typeof HandlerTypeFileSchema>;

export interface HandlerType {
  readonly handler_type_id: number;
  /** snake_case, for example `detect_face`. */
  readonly handler_type_name: string;
  /** Other names that files may use: the reference's CamelCase ones. */
  readonly aliases: readonly string[];
  readonly description: string;
  readonly inputs: readonly InputPort[];
  readonly outputs: readonly OutputPort[];
  /** TypeBox object schema with defaults; null for types declared by file only (their parameters are passed on as they are). */
  readonly params: TSchema | null;
  readonly cost: Cost;
  /** `own`: a handler host of its own. `shared`: shares the host of the handler it feeds (or is fed by) on its node. */
  readonly host: 'own' | 'shared';
  /**
   * Whether sessions of one node may share its models: absent where they cannot, else whether handlers do that do not say.
   */
  readonly share?: boolean | undefined;
}

/** A handler's type as files write it: id or name. */
export type HandlerTypeRef = number | string;

/** Every handler type known to a process, found by id, name or alias. */
export class HandlerTypeRegistry {
  readonly #byId = new Map<number, HandlerType>();
  readonly #byName = new Map<string, HandlerType>();

  constructor(types: Iterable<HandlerType>) {
    for (const type of types) this.#add(type);
  }

  #add(type: HandlerType): void {
    this.#byId.set(type.handler_type_id, type);
    for (const name of [type.handler_type_name, ...type.aliases]) this.#byName.set(name.toLowerCase(), type);
  }

  /** Takes a declaration from a file: new types are added, known ones get its default cost. */
  declare(file: HandlerTypeFile): void {
    const known = this.#byId.get(file.handler_type_id);
    if (known !== undefined && known.handler_type_name !== file.handler_type_name) {
      throw new OrchestratorError(
        'HANDLER_TYPE_FILE_INVALID',
        `handler_type_id ${file.handler_type_id} is ${known.handler_type_name}, not ${file.handler_type_name}`,
      );
    }
    const share = file.share ?? known?.share;
    if (file.share === true) checkShares({ ...file, share: known?.share }, `handler type ${file.handler_type_name}`);
    this.#add({
      ...(share === undefined || known?.share === undefined ? {} : { share }),
      handler_type_id: file.handler_type_id,
      handler_type_name: file.handler_type_name,
      aliases: known?.aliases ?? [],
      description: file.description ?? known?.description ?? '',
      inputs: known?.inputs ?? file.inputs ?? [],
      outputs: known?.outputs ?? file.outputs ?? [],
      params: known?.params ?? null,
      cost: file.cost ?? known?.cost ?? Value.Create(CostSchema),
      host: known?.host ?? 'own',
    });
  }

  all(): HandlerType[] {
    return [...this.#byId.values()].sort((a, b) => a.handler_type_id - b.handler_type_id);
  }

  find(ref: HandlerTypeRef): HandlerType | undefined {
    return typeof ref === 'number' ? this.#byId.get(ref) : this.#byName.get(ref.toLowerCase());
  }

  /** Throws HANDLER_TYPE_UNKNOWN with the known names. */
  get(ref: HandlerTypeRef, where: string): HandlerType {
    const type = this.find(ref);
    if (type !== undefined) return type;
    const known = this.all().map((one) => `${one.handler_type_id} ${one.handler_type_name}`);
    throw new OrchestratorError(
      'HANDLER_TYPE_UNKNOWN',
      `${where}: handler_type ${JSON.stringify(ref)} is unknown; known: ${known.join(', ')}`,
      { handler_type: ref },
    );
  }
}

/** Throws SHARE_UNSUPPORTED for a type whose models cannot be loaded once for several sessions. */
export function checkShares(type: Pick<HandlerType, 'handler_type_name' | 'share'>, where: string): void {
  if (type.share !== undefined) return;
  const message = `${where}: handler_type ${type.handler_type_name} cannot share a model; leave "share" out`;
  throw new OrchestratorError('SHARE_UNSUPPORTED', message, { handler_type: type.handler_type_name });
}

/** The reference spells it `tresh`; both are taken. */
function normalSpelling(params: Record<string, unknown>): Record<string, unknown> {
  if (!('tresh' in params) || 'thresh' in params) return { ...params };
  const { tresh, ...rest } = params;
  return { ...rest, thresh: tresh };
}

export interface ParsedParams {
  readonly params: Record<string, unknown>;
  /** Parameters that the type does not know, by name; they are dropped. */
  readonly warnings: string[];
}

/** Defaults filled in, spelling variants taken, unknown names warned of, ranges checked (HANDLER_PARAMS_INVALID). */
export function parseParams(type: HandlerType, given: Record<string, unknown>, where: string): ParsedParams {
  if (type.params === null) return { params: { ...given }, warnings: [] };
  const spelled = normalSpelling(given);
  const known = new Set(Object.keys((type.params as unknown as { properties: object }).properties));
  const warnings: string[] = [];
  const params: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(spelled)) {
    if (known.has(name)) params[name] = value;
    else warnings.push(`${where}: ${type.handler_type_name} has no parameter ${name}`);
  }
  const filled = Value.Default(type.params, params) as Record<string, unknown>;
  const faults = schemaFaults(type.params, filled);
  if (faults.length > 0) {
    throw new OrchestratorError('HANDLER_PARAMS_INVALID', `${where}: params${faults.slice(0, 5).join('; params')}`, {
      handler_type: type.handler_type_name,
      faults,
    });
  }
  return { params: filled, warnings };
}
