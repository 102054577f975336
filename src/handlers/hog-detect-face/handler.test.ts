/** dlib's HOG detector: built against dlib's headers where they are, refused with the way to get it where it was not built. */
import { existsSync, mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import type { Frame } from '../../contracts/packet.js';
import { iou } from '../../vision/geometry.js';
import { buildHog, hogPath } from '../../vision/hog-build.js';
import { createHogDetector } from '../../vision/hog-detector.js';
import { cropWithMargin, decodePicture } from '../../vision/images.js';
import { createProcessing, FACES_OF_SAMPLES, outputOf, samplePath, testContext } from '../context.testing.js';
import { manifest } from './manifest.js';

/** False: no dlib here, and the detector cannot be built. Throws under CI. */
function hasDlib(): boolean {
  const found = existsSync('/usr/include/dlib/image_processing/frontal_face_detector.h');
  if (!found && process.env.CI === 'true') throw new Error('libdlib-dev is not installed; under CI its test is a must');
  if (!found) process.stderr.write('libdlib-dev is not installed: the HOG detector is not built and tested here\n');
  return found;
}

const empty = () => mkdtempSync(join(tmpdir(), 'orchestrator-hog-'));
const path = process.env.PATH;
afterEach(() => {
  process.env.PATH = path;
});

test('where it was not built it is refused by name, with the way to get it', async () => {
  await expect(createHogDetector({ upsample: 1, cacheDir: empty() })).rejects.toMatchObject({
    code: 'HANDLER_FAILED',
    message: expect.stringMatching(/hog_detect_face needs dlib.*libdlib-dev.*orchestrator models build-hog/),
  });
});

test('what its build misses is named', async () => {
  const options = { cacheDir: empty(), onProgress: () => {} };
  await expect(buildHog({ ...options, nodeHeaders: '/nowhere' })).rejects.toThrow('node_api.h) are not in /nowhere');
  process.env.PATH = options.cacheDir;
  await expect(buildHog(options)).rejects.toThrow('there is no compiler g++');
  expect(existsSync(hogPath(options.cacheDir))).toBe(false);
});

describe.runIf(hasDlib())('built', () => {
  test('it finds faces in frames and in crops, and keeps to its bounds', async () => {
    const { cacheDir } = testContext(manifest);
    await buildHog({ cacheDir, onProgress: () => {} });
    const handler = await createProcessing(manifest, { upsample: 0 });
    const counts: number[] = [];
    let frame!: Frame;
    for (const number of FACES_OF_SAMPLES.keys()) {
      frame = await decodePicture(readFileSync(samplePath(number + 1)));
      const { boxes } = await outputOf(handler, [frame], 'boxes');
      counts.push(boxes.length);
      for (const box of boxes) {
        expect(box.label).toBe('face');
        expect(box.prob).toBeGreaterThanOrEqual(0.5);
        expect(box.x >= 0 && box.y >= 0 && box.x + box.w <= frame.width && box.y + box.h <= frame.height).toBe(true);
        expect(box.crop).toBeDefined();
      }
    }
    // As dlib's own program finds them: one face of sample1 twice, one of sample2.
    expect(counts).toEqual([4, 1, 3, 3, 5, 4]);

    const [face] = (await outputOf(handler, [frame], 'boxes')).boxes;
    const around = {
      label: 'person',
      prob: 1,
      x: face!.x - face!.w / 2,
      y: face!.y - face!.h / 2,
      w: face!.w * 2,
      h: face!.h * 2,
    };
    const person = { ...around, crop: cropWithMargin(frame, around) };
    const size = { frame_width: frame.width, frame_height: frame.height };
    const [inside] = (await outputOf(handler, [{ type: 'boxes', ...size, boxes: [person] }], 'boxes')).boxes;
    expect(iou(inside!, face!)).toBeGreaterThan(0.6);

    const detector = await createHogDetector({ upsample: 4, cacheDir });
    await expect(detector.detect(frame)).rejects.toMatchObject({
      code: 'PICTURE_TOO_LARGE',
      message: expect.stringContaining('HOG takes at most 67108864'),
    });
    expect(await detector.detect({ width: 1, height: 1, data: Buffer.alloc(3) })).toEqual([]);
    await handler.close();
  });
});
