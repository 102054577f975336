/**
 * What a Node user picks today: @vladmandic/face-api, the face pipeline of @vladmandic/human, and the same object detector
 * under tfjs-wasm, on the very pixels that ours get. They are installed apart (`npm ci --prefix bench/peers`), because they
 * take 370 MB.
 */
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Frame } from '#src/contracts/packet.js';
import { findModel } from '#src/vision/catalogue.js';
import { describeModel } from '#src/vision/model-cache.js';

const PEERS = fileURLToPath(new URL('../../bench/peers/', import.meta.url));

interface Tensor {
  dispose(): void;
  data(): Promise<Float32Array>;
  toFloat(): Tensor;
  sub(value: number): Tensor;
  mul(value: number): Tensor;
}

interface Graph {
  execute(input: Tensor, outputs: string[]): Tensor | Tensor[];
}

interface Tf {
  setBackend(name: string): Promise<boolean>;
  ready(): Promise<void>;
  tensor3d(data: Uint8Array, shape: number[], type: 'int32'): Tensor;
  tidy<T>(act: () => T): T;
  image: { resizeBilinear(picture: Tensor, size: [number, number]): Tensor };
  stack(tensors: readonly Tensor[]): Tensor;
  loadGraphModel(handler: { load(): Promise<object> }): Promise<Graph>;
}

interface FaceApiNet {
  loadFromDisk(dir: string): Promise<void>;
  locateFaces(picture: Tensor, options: object): Promise<unknown>;
  detectLandmarks(faces: readonly Tensor[]): Promise<unknown>;
  computeFaceDescriptor(faces: readonly Tensor[]): Promise<unknown>;
  predictAgeAndGender(faces: readonly Tensor[]): Promise<unknown>;
}

interface FaceApi {
  readonly nets: Record<string, FaceApiNet>;
  readonly SsdMobilenetv1Options: new (options: object) => object;
  readonly TinyFaceDetectorOptions: new (options: object) => object;
  detectAllFaces(
    picture: Tensor,
    options: object,
  ): {
    withFaceLandmarks(): { withFaceDescriptors(): Promise<{ descriptor: Float32Array }[]> };
  };
}

interface Human {
  load(): Promise<void>;
  detect(picture: Tensor): Promise<{ face: { embedding?: number[] }[] }>;
  readonly tf: { tensor(data: Uint8Array, shape: number[], type: 'int32'): Tensor };
}

/** Nets of face-api by the names of the catalogue. */
const FACE_NETS = {
  tiny_face_detector: 'tinyFaceDetector',
  ssd_mobilenetv1: 'ssdMobilenetv1',
  face_landmark_68: 'faceLandmark68Net',
  face_landmark_68_tiny: 'faceLandmark68TinyNet',
  face_recognition: 'faceRecognitionNet',
  age_gender: 'ageGenderNet',
} as const;
export type FaceNet = keyof typeof FACE_NETS;

const GRAPH_NETS = ['blazeface', 'faceres', 'antispoof', 'liveness', 'centernet'] as const;
export type GraphNet = (typeof GRAPH_NETS)[number];

export interface VisionPeers {
  /** Detection, 68 landmarks and descriptors of every face; how many faces. */
  faceChain(frame: Frame): Promise<number>;
  /** The face pipeline of human: BlazeFace, its mesh in place of 68 points, and the 1024-d descriptor; how many faces. */
  human(frame: Frame): Promise<number>;
  /** A net of face-api as its users call it: resize, inference, reading. Detectors take one picture. */
  faceNet(net: FaceNet, pictures: readonly Frame[]): Promise<void>;
  /** A net of human at its default size: resize and inference, without reading boxes or ages from its outputs. */
  graph(net: GraphNet, pictures: readonly Frame[]): Promise<void>;
}

/** null when they are not installed. */
export async function loadPeers(): Promise<VisionPeers | null> {
  if (!existsSync(join(PEERS, 'node_modules'))) {
    console.log('vision peers are not installed: npm ci --prefix bench/peers');
    return null;
  }
  const require = createRequire(join(PEERS, 'package.json'));
  const tf = require('@tensorflow/tfjs') as Tf;
  const wasm = require('@tensorflow/tfjs-backend-wasm') as { setWasmPaths(dir: string): void };
  const faceApi = require('@vladmandic/face-api/dist/face-api.node-wasm.js') as FaceApi;
  wasm.setWasmPaths(`${dirname(require.resolve('@tensorflow/tfjs-backend-wasm'))}/`);
  await tf.setBackend('wasm');
  await tf.ready();
  const models = join(dirname(require.resolve('@vladmandic/face-api/package.json')), 'model');
  for (const net of Object.values(FACE_NETS)) await faceApi.nets[net]!.loadFromDisk(models);
  const graphs = new Map<GraphNet, Graph>();
  for (const net of GRAPH_NETS) graphs.set(net, await tf.loadGraphModel({ load: () => graphArtifacts(net) }));
  const human = await loadHuman(`${dirname(require.resolve('@tensorflow/tfjs-backend-wasm'))}/`);
  const tensorOf = ({ data, width, height }: Frame) => tf.tensor3d(data, [height, width, 3], 'int32');
  return {
    async faceChain(frame) {
      const picture = tensorOf(frame);
      const options = new faceApi.SsdMobilenetv1Options({ minConfidence: 0.5 });
      const faces = await faceApi.detectAllFaces(picture, options).withFaceLandmarks().withFaceDescriptors();
      picture.dispose();
      return faces.length;
    },
    async human(frame) {
      const picture = human.tf.tensor(frame.data, [1, frame.height, frame.width, 3], 'int32');
      const { face } = await human.detect(picture);
      picture.dispose();
      return face.length;
    },
    async faceNet(net, pictures) {
      const tensors = pictures.map(tensorOf);
      await callFaceNet(faceApi, net, tensors);
      for (const tensor of tensors) tensor.dispose();
    },
    async graph(net, pictures) {
      const outputs = tf.tidy(() => {
        const { input_sizes, graph } = findModel(net);
        const {
          mean: [mean],
          scale,
        } = graph!.normalisation ?? { mean: [0], scale: 1 };
        const side: [number, number] = [input_sizes[0]!, input_sizes[0]!];
        const fitted = pictures.map((frame) => tf.image.resizeBilinear(tensorOf(frame).toFloat(), side));
        const input = tf.stack(fitted).sub(mean).mul(scale);
        return [
          graphs.get(net)!.execute(
            input,
            Object.values(graph!.outputs).map(({ node }) => node),
          ),
        ].flat();
      });
      for (const output of outputs) {
        await output.data();
        output.dispose();
      }
    },
  };
}

/** @param tensors of detectors one */
async function callFaceNet(faceApi: FaceApi, name: FaceNet, tensors: readonly Tensor[]): Promise<unknown> {
  const net = faceApi.nets[FACE_NETS[name]]!;
  switch (name) {
    case 'tiny_face_detector':
      return net.locateFaces(tensors[0]!, new faceApi.TinyFaceDetectorOptions({ inputSize: 416, scoreThreshold: 0.5 }));
    case 'ssd_mobilenetv1':
      return net.locateFaces(tensors[0]!, new faceApi.SsdMobilenetv1Options({ minConfidence: 0.5 }));
    case 'face_recognition':
      return net.computeFaceDescriptor(tensors);
    case 'age_gender':
      return net.predictAgeAndGender(tensors);
    default:
      return net.detectLandmarks(tensors);
  }
}

/** Reads its models over HTTP only, so that they are served to it while it loads. */
async function loadHuman(wasmPath: string): Promise<Human> {
  const dir = join(PEERS, 'node_modules', '@vladmandic', 'human');
  const { Human } = createRequire(import.meta.url)(join(dir, 'dist', 'human.node-wasm.js')) as {
    Human: new (config: object) => Human;
  };
  const server = createServer((request, response) => {
    response.end(readFileSync(join(dir, 'models', basename(request.url ?? ''))));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const off = { enabled: false };
  // Every frame is looked at anew: what it keeps from frame to frame would be no work at all on the same picture.
  const anew = { enabled: true, skipFrames: 0, skipTime: 0 };
  const human = new Human({
    ...{ backend: 'wasm', wasmPath, debug: false, cacheSensitivity: 0, filter: off },
    modelBasePath: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    face: {
      ...{ enabled: true, detector: { ...anew, maxDetected: 10, rotation: false }, mesh: anew, description: anew },
      ...{ iris: off, emotion: off, antispoof: off, liveness: off },
    },
    ...{ body: off, hand: off, object: off, gesture: off, segmentation: off },
  });
  await human.load();
  server.close();
  return human;
}

async function graphArtifacts(model: string): Promise<object> {
  const { sourcePath } = await describeModel(model);
  const json = JSON.parse(readFileSync(sourcePath, 'utf8')) as {
    modelTopology: object;
    weightsManifest: { paths: string[]; weights: object[] }[];
  };
  const shards = json.weightsManifest.flatMap(({ paths }) =>
    paths.map((path) => readFileSync(join(dirname(sourcePath), path))),
  );
  const bytes = Buffer.concat(shards);
  return {
    modelTopology: json.modelTopology,
    weightSpecs: json.weightsManifest.flatMap(({ weights }) => weights),
    weightData: bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length),
  };
}
