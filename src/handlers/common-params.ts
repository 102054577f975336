/** Parameters that several handler types have in common, so that each means the same everywhere. */
import Type from '#vendor/typebox.js';

/** Of every type that emits boxes. */
export const BOXES_PARAMS = {
  with_crop: Type.Boolean({
    default: true,
    description: 'Boxes carry their pixels, which align, recognize_face and detectors on boxes need',
  }),
  multiple: Type.Boolean({ default: true, description: 'false keeps the best box only (highest prob)' }),
};

/** Of every type that runs a model. */
export const MODEL_PARAMS = {
  gpu: Type.Union([Type.Boolean(), Type.Literal('auto')], {
    default: 'auto',
    description: 'auto = CUDA where it is there, else CPU; true fails without CUDA; false = CPU',
  }),
};

/** Width and height of a picture, px; 0 leaves a side to follow from the other. */
export function sidePx(side: 'width' | 'height', defaultPx: number, zero: string) {
  return Type.Integer({ minimum: 0, maximum: 16_384, default: defaultPx, description: `Picture ${side}, px; ${zero}` });
}

export const QualityParam = Type.Integer({ minimum: 1, maximum: 100, default: 80, description: 'JPEG quality' });

/** A gallery folder: empty = nobody is named. */
export const ClassifierParam = Type.String({
  default: '',
  description: 'Gallery: a directory with one folder of pictures per person; empty = nobody is named',
});

export const MatchThreshParam = Type.Union([Type.Number({ minimum: 0, maximum: 2 }), Type.Null()], {
  default: null,
  description: "Largest distance to a known face that still names it; null or 0 = the model's own",
});

export const EmbeddingsParam = Type.Boolean({
  default: false,
  description: 'Boxes keep their feature vector (and draw handlers hand it on to boxes.jsonl)',
});

/** A model by name. Which names there are differs between nodes, so that a wrong one is refused where it is loaded. */
export function modelParam(defaultModel: string) {
  return Type.String({
    pattern: '^[a-z0-9][a-z0-9._-]*$',
    default: defaultModel,
    description:
      'Name in the model catalogue (`orchestrator models list`), or of a model that was imported on the node',
  });
}

/** Side of the square that a model sees. */
export const SizeParam = Type.Union([Type.Integer({ minimum: 32, maximum: 4096 }), Type.Null()], {
  default: null,
  description:
    "Side of the square that the model sees, px: larger finds smaller things and takes longer; null = the model's own " +
    '(`orchestrator models show NAME` lists the sizes)',
});

/** `model` of a type whose own weights no installed package holds: its own where it was imported, else one of its kind. */
export function standInParam(standIn: string, own: string, imported?: string) {
  const first = imported === undefined ? '' : `\`${imported}\` where it was imported, else `;
  return Type.String({
    default: '',
    description:
      `Name in the model catalogue, or of an imported model; empty = ${first}\`${standIn}\`. ${own} are in no installed ` +
      'package: a file name means the same as empty, with a warning where another model takes their place',
  });
}

export const GpuMemoryParam = Type.Number({
  minimum: 0,
  maximum: 1,
  default: 0.25,
  description: 'Accepted and ignored: ONNX Runtime takes the memory that it needs',
});

/** Threshold of the reference's types that run on a stand-in. */
const RelativeThreshParam = Type.Number({
  exclusiveMinimum: 0,
  maximum: 1,
  default: 0.5,
  description:
    "How far a face may be from a known one that still names it: 0.5 = the model's own distance, 1 = twice as far",
});

/** Of recognisers whose own weights are in no package. */
export function standInRecognizerParams(standIn: string, own: string, dimPx: number) {
  return {
    ...MODEL_PARAMS,
    model: standInParam(standIn, own),
    classifier: ClassifierParam,
    dim: Type.Integer({
      minimum: 0,
      maximum: 1024,
      default: dimPx,
      description: 'Accepted and ignored: crops are fitted',
    }),
    thresh: RelativeThreshParam,
    embeddings: EmbeddingsParam,
    ...BOXES_PARAMS,
  };
}
