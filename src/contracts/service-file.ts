/** What a service file may say, as it is written; service.ts brings every form of it to one. */
import Type, { type Static } from '#vendor/typebox.js';
import { BlueprintLinkSchema, BlueprintSchema, HandlerTypeRefSchema, ShareSchema } from './blueprint.js';
import { CostSchema } from './handler-type.js';
import { HANDLERS_MAX } from './limits.js';

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

export type AlternativeFile = Static<typeof AlternativeSchema>;

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

export type VariantFile = Static<typeof VariantFileSchema>;

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
