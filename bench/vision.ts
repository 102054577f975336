/**
 * Models under ONNX Runtime on a real picture, everything around them included (vision-models.ts); whole chains on a
 * 1920 x 1080 JPEG with the share of the time that is not ONNX Runtime's; the same work under tfjs-wasm where bench/peers is
 * installed; and sessions that share a model (vision-share.ts).
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import type { Frame } from '#src/contracts/packet.js';
import { alignFace } from '#src/vision/align.js';
import { createFaceDetector } from '#src/vision/face-detector.js';
import { decodePicture, drawBoxes, encodeJpeg, resizeFrame } from '#src/vision/images.js';
import { createLandmarker } from '#src/vision/landmarker.js';
import { createObjectDetector } from '#src/vision/object-detector.js';
import { createRecognizer } from '#src/vision/recognizer.js';
import { type BenchCase, type BenchRow, runCases } from './harness.js';
import type { BenchContext } from './run.js';
import { type Comparison, modelComparisons, modelWorks } from './vision-models.js';
import { loadPeers } from './vision-peers.js';
import { runShare } from './vision-share.js';

const CALLS = 5;
/** The frames of the first calls lie on pages that the system clears first; later ones take their place. */
const WARM_CALLS = 3;
/** Of whole chains, which a host runs for hours: after so many frames each buffer lies where an earlier one did. */
const WARM_FRAMES = 25;
const require = createRequire(import.meta.url);
const PICTURE = join(dirname(require.resolve('@vladmandic/face-api/package.json')), 'demo', 'sample1.jpg');
const UNITS = { call: 'ms', outside: 'ms', share: '%' };

/**
 * `--only chains`: whole chains and what they spend outside ONNX Runtime; `--only models`: these and each model; `--only share`:
 * sessions that share a model alone.
 */
export async function run(context: BenchContext): Promise<BenchRow[]> {
  const { only } = context;
  return [
    ...(only === 'share' ? [] : await runModels(context)),
    ...(only === 'models' || only === 'chains' ? [] : await runShare(context)),
  ];
}

async function runModels({ rounds, rawFile, only }: BenchContext): Promise<BenchRow[]> {
  const frame = await decodePicture(readFileSync(PICTURE));
  const small = await resizeFrame(frame, 640, 480);
  const large = await resizeFrame(frame, 1920, 1080);
  const options = { bench: 'vision', units: UNITS, lessIsBetter: ['call'], rounds, rawFile };
  const chains = await openChains();
  // In a process like a handler host's: what dozens of other models and the heaps of the peers cost would count as ours.
  const rows = await runCases({ ...options, cases: await wholeCases(large, chains) });
  const isWhole = only !== 'chains';
  const [works, onTwo] = isWhole ? [await modelWorks(frame, 1), await modelWorks(frame, 2)] : [[], []];
  const cases = [...works, ...onTwo].map(({ name, call }) => ({ name, measure: () => timed(call) }));
  if (isWhole) rows.push(...(await runCases({ ...options, cases: [...cases, ...pictureCases(small)] })));
  const peers = await loadPeers();
  if (peers === null) return rows;
  const models = isWhole ? modelComparisons(frame, works) : [];
  for (const { work, ours, peer, theirs } of [...models, ...chainComparisons(large, chains)]) {
    const own = { name: `${work}, ours, 1 thread`, measure: () => timed(ours) };
    const other = { name: peer, measure: () => timed(() => theirs(peers)) };
    rows.push(...(await runCases({ ...options, cases: [own, other], reference: peer })));
  }
  return rows;
}

function pictureCases(frame: Frame): BenchCase[] {
  return [
    { name: 'encode 640x480 q80', measure: () => timed(() => encodeJpeg(frame, 80)) },
    {
      name: 'encode + decode 640x480',
      measure: () => timed(async () => decodePicture(await encodeJpeg(frame, 80))),
    },
  ];
}

type Chains = Awaited<ReturnType<typeof openChains>>;

async function openChains() {
  return {
    faces: await faceChain(),
    faceres: await faceChain({ detector: 'blazeface', recognizer: 'faceres' }),
    objects: await objectChain(),
  };
}

/** Everything from the JPEG to the annotated frame, and what of it is not spent in ONNX Runtime. */
async function wholeCases(frame: Frame, { faces, objects }: Chains): Promise<BenchCase[]> {
  const jpeg = await encodeJpeg(frame, 90);
  const measureWhole = async (runtime: Stopwatch, work: (frame: Frame) => Promise<Parameters<typeof drawBoxes>[1]>) => {
    const { call } = await timed(
      async () => {
        const decoded = await decodePicture(jpeg);
        await drawBoxes(decoded, await work(decoded));
      },
      { stopwatch: runtime, warmCalls: WARM_FRAMES },
    );
    const outside = call! - runtime.ms / CALLS;
    return { call: call!, outside, share: (100 * outside) / call! };
  };
  return [
    {
      name: 'JPEG to annotated frame, ssd + 68 + 128-d',
      measure: () => measureWhole(faces.runtime, faces.describe),
    },
    {
      name: 'JPEG to annotated frame, centernet 512',
      measure: () => measureWhole(objects.runtime, objects.detect),
    },
  ];
}

function chainComparisons(frame: Frame, { faces, faceres, objects }: Chains): Comparison[] {
  return [
    {
      work: 'ssd + 68 + 128-d of 1920x1080 pixels',
      ours: () => faces.describe(frame),
      peer: 'ssd + 68 + 128-d of 1920x1080 pixels, face-api on tfjs-wasm',
      theirs: (peers) => peers.faceChain(frame),
    },
    {
      work: 'blazeface + 68 + 1024-d of 1920x1080 pixels',
      ours: () => faceres.describe(frame),
      peer: 'blazeface + mesh + 1024-d of 1920x1080 pixels, human on tfjs-wasm',
      theirs: (peers) => peers.human(frame),
    },
    {
      work: 'centernet 512 of 1920x1080 pixels',
      ours: () => objects.detect(frame),
      peer: 'centernet 512 of 1920x1080 pixels, tfjs-wasm',
      theirs: (peers) => peers.graph('centernet', [frame]),
    },
  ];
}

/** Milliseconds spent in ONNX Runtime. */
class Stopwatch {
  ms = 0;

  readonly onRun = (ms: number): void => {
    this.ms += ms;
  };
}

async function faceChain(models: { readonly detector?: string; readonly recognizer?: string } = {}) {
  const runtime = new Stopwatch();
  const options = { threads: 1, onRun: runtime.onRun };
  const detector = await createFaceDetector({ ...options, model: models.detector });
  const landmarker = await createLandmarker(options);
  const recognizer = await createRecognizer({ ...options, model: models.recognizer });
  return {
    runtime,
    async describe(frame: Frame) {
      const boxes = await landmarker.locate(await detector.detect(frame), frame);
      await recognizer.embed(boxes.map((box) => alignFace(box, { chip: recognizer.chip, frame })!));
      return boxes;
    },
  };
}

async function objectChain() {
  const runtime = new Stopwatch();
  const options = { threads: 1, onRun: runtime.onRun };
  const detector = await createObjectDetector({ ...options, size: 512, thresh: 0.25 });
  return { runtime, detect: (frame: Frame) => detector.detect(frame) };
}

interface TimedOptions {
  readonly stopwatch?: Stopwatch;
  readonly warmCalls?: number;
}

/** Mean of CALLS calls after `warmCalls`, ms. */
async function timed(
  call: () => Promise<unknown>,
  { stopwatch, warmCalls = WARM_CALLS }: TimedOptions = {},
): Promise<Record<string, number>> {
  for (let index = 0; index < warmCalls; index++) await call();
  if (stopwatch !== undefined) stopwatch.ms = 0;
  const start = performance.now();
  for (let index = 0; index < CALLS; index++) await call();
  return { call: (performance.now() - start) / CALLS };
}
