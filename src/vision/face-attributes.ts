/**
 * What nets tell of a face beside whose it is: age and gender, and whether it looks like a living one before the camera.
 * They were trained on little and are often wrong about a single picture: a hint for who looks, no proof of anything.
 */
import { OrchestratorError } from '../contracts/errors.js';
import type { Box, BoxAttributes, Crop } from '../contracts/packet.js';
import { findModel } from './catalogue.js';
import { createEngine, type Engine, type EngineOptions, type OutputTensor } from './engine.js';
import { squareRect } from './geometry.js';
import { sampleBox, sampleRect } from './warp.js';

type Outputs = Readonly<Record<string, OutputTensor>>;

/** Face `index` of a run: the attributes that the net's outputs mean. */
type Reading = (outputs: Outputs, index: number) => BoxAttributes;

const READINGS = {
  age_gender: ({ age, gender }, index) => ({ age: age!.data[index]!, ...genderOf(gender!.data[2 * index]!) }),
  faceres: ({ age, male }, index) => ({ age: likelyAge(rowOf(age!, index)), ...genderOf(male!.data[index]!) }),
  antispoof: ({ real }, index) => ({ real: real!.data[index]! }),
  liveness: ({ live }, index) => ({ live: live!.data[2 * index]! }),
} as const satisfies Record<string, Reading>;

export type AttributeModel = keyof typeof READINGS;
export const ATTRIBUTE_MODELS = Object.keys(READINGS) as AttributeModel[];

export interface FaceDescriberOptions extends EngineOptions {
  /** Of ATTRIBUTE_MODELS; where two tell the same, the later one counts. */
  readonly models: readonly string[];
}

export interface FaceDescriber {
  /** The attributes of each box, which must have a crop: aligned where it has landmarks, else of a detector. */
  describe(boxes: readonly Box[]): Promise<BoxAttributes[]>;
  dispose(): Promise<void>;
}

/** Faces of one run; bounds the memory of a crowd. */
const BATCH_MAX = 16;

interface Opened {
  readonly engine: Engine;
  readonly sidePx: number;
  readonly reading: Reading;
}

/** @throws MODEL_NOT_FOUND for a name that is none of ATTRIBUTE_MODELS, and what createEngine throws */
export async function createFaceDescriber({ models, ...options }: FaceDescriberOptions): Promise<FaceDescriber> {
  const opened: Opened[] = [];
  const dispose = async (): Promise<void> => {
    await Promise.all(opened.map(({ engine }) => engine.dispose()));
  };
  try {
    for (const model of new Set(models)) opened.push(await open(model, options));
  } catch (error) {
    await dispose();
    throw error;
  }
  return {
    async describe(boxes) {
      const all: BoxAttributes[] = [];
      for (let start = 0; start < boxes.length; start += BATCH_MAX) {
        all.push(...(await describeBatch(opened, boxes.slice(start, start + BATCH_MAX))));
      }
      return all;
    },
    dispose,
  };
}

async function open(model: string, options: EngineOptions): Promise<Opened> {
  const known = ATTRIBUTE_MODELS.find((one) => one === model);
  if (known === undefined) {
    const message = `no model ${model} tells attributes of faces; there are ${ATTRIBUTE_MODELS.join(', ')}`;
    throw new OrchestratorError('MODEL_NOT_FOUND', message, { model });
  }
  const engine = await createEngine(known, options);
  return { engine, sidePx: findModel(known).input_sizes[0]!, reading: READINGS[known] };
}

async function describeBatch(opened: readonly Opened[], boxes: readonly Box[]): Promise<BoxAttributes[]> {
  const told: BoxAttributes[] = boxes.map(() => ({}));
  for (const { engine, sidePx, reading } of opened) {
    const bytes = sidePx * sidePx * 3;
    const data = new Uint8Array(boxes.length * bytes);
    boxes.forEach((box, index) => {
      data.set(faceOf(box, sidePx).data, index * bytes);
    });
    const outputs = await engine.run({ data, batch: boxes.length, height: sidePx, width: sidePx });
    boxes.forEach((_, index) => {
      told[index] = { ...told[index], ...reading(outputs, index) };
    });
  }
  return told;
}

/** All of an aligned crop; of a detector's, which shows more than the box, a square of the box. */
function faceOf(box: Box, sidePx: number): Crop {
  const { crop, landmarks } = box;
  if (crop === undefined || landmarks === undefined) return sampleBox(box, squareRect(box), sidePx);
  return sampleRect(crop, { x: 0, y: 0, w: crop.width, h: crop.height }, sidePx, sidePx);
}

function genderOf(male: number): BoxAttributes {
  return male > 0.5 ? { gender: 'male', gender_prob: male } : { gender: 'female', gender_prob: 1 - male };
}

function rowOf({ data, dims }: OutputTensor, index: number): Float32Array {
  return data.subarray(index * dims[1]!, (index + 1) * dims[1]!);
}

/** Mean of the two likeliest years, as by the net's author (Savchenko 2019, doi 10.7717/peerj-cs.197). */
function likelyAge(probs: Float32Array): number {
  const [first, second] = [...probs.keys()].sort((a, b) => probs[b]! - probs[a]!) as [number, number];
  return (first * probs[first]! + second * probs[second]!) / (probs[first]! + probs[second]!);
}
