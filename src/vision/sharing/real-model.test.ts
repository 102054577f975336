/** A model of the catalogue behind a server: what two handlers ask at the same time is one inference, and each gets its own. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import type { Crop } from '../../contracts/packet.js';
import { silentLogger } from '../../std/logger.js';
import { alignFace, chipFor } from '../align.js';
import { createEngine } from '../engine.js';
import { createFaceDetector } from '../face-detector.js';
import { decodePicture } from '../images.js';
import { createLandmarker } from '../landmarker.js';
import { createRecognizer } from '../recognizer.js';
import { ModelServer } from './model-server.js';
import type { SharedModels } from './shared-engine.js';

const PICTURES = join(dirname(createRequire(import.meta.url).resolve('@vladmandic/face-api/package.json')), 'demo');
/** Longer than two handlers need to ask, however busy the machine; nobody waits so long, since a full batch goes at once. */
const WAIT_MS = 60_000;

/** Aligned faces of one sample picture. */
async function chipsOf(sample: number): Promise<Crop[]> {
  const frame = await decodePicture(readFileSync(join(PICTURES, `sample${sample}.jpg`)), { width: 960 });
  const detector = await createFaceDetector({ model: 'blazeface', size: 320 });
  const landmarker = await createLandmarker();
  const faces = await landmarker.locate(await detector.detect(frame), frame);
  await Promise.all([detector.dispose(), landmarker.dispose()]);
  return faces.map((face) => alignFace(face, { chip: chipFor('dlib', 150), frame })!);
}

test('faces of two sessions in one inference have the embeddings that each has alone', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'model-test-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  const engine = await createEngine('face_recognition');
  const server = new ModelServer({
    ...{ engine, threads: 1, batchMax: 16, batchWaitMs: WAIT_MS, logger: silentLogger, onHung() {} },
  });
  onTestFinished(async () => {
    server.close();
    await engine.dispose();
  });
  await server.listen(join(directory, 's'));
  const shared = (session_id: number): SharedModels => ({
    ...{ session_id, handler_id: 6, resend: false, spent() {} },
    open: async () => ({ socketPath: join(directory, 's'), release() {} }),
    leftMs: () => Number.POSITIVE_INFINITY,
  });
  const recognizers = await Promise.all([1, 2].map((id) => createRecognizer({ shared: shared(id) })));
  const alone = await createRecognizer();
  const chips = await Promise.all([chipsOf(1), chipsOf(5)]);
  const together = await Promise.all(recognizers.map((one, index) => one.embed(chips[index]!)));
  expect(server.status()).toMatchObject({ runs: 1, pictures: chips[0]!.length + chips[1]!.length });
  for (const [index, faces] of chips.entries()) {
    expect(faces.length).toBeGreaterThan(1);
    const expected = await alone.embed(faces);
    for (const [face, embedding] of expected.entries()) {
      const difference = embedding.reduce(
        (most, value, at) => Math.max(most, Math.abs(value - together[index]![face]![at]!)),
        0,
      );
      expect(difference).toBeLessThan(1e-5);
    }
  }
  await Promise.all([...recognizers, alone].map((one) => one.dispose()));
}, 120_000);
