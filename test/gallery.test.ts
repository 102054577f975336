/** Who is enrolled and removed while a recogniser runs, through the very functions of the command line. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import type { Boxes, Frame } from '../src/contracts/packet.js';
import type { ProcessingHandler } from '../src/handler-kit/define.js';
import { createProcessing, outputOf, samplePath } from '../src/handlers/context.testing.js';
import { GALLERY_LOOK_MS } from '../src/handlers/live-gallery.js';
import { manifest as mtcnn } from '../src/handlers/mtcnn-detect-face-align/manifest.js';
import { manifest as recognizeFace } from '../src/handlers/recognize-face/manifest.js';
import { enrolPerson, removePerson } from '../src/main/people.js';
import { cropWithMargin, decodePicture, encodeJpeg } from '../src/vision/images.js';

let dir: string;
let frame: Frame;
let faces: Boxes;
const opened: ProcessingHandler[] = [];
beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'orchestrator-live-'));
  frame = await decodePicture(readFileSync(samplePath(1)));
  const finder = await createProcessing(mtcnn, { gpu: false });
  opened.push(finder);
  faces = await outputOf(finder, [frame], 'boxes');
});
afterAll(async () => {
  for (const handler of opened) await handler.close();
  rmSync(dir, { recursive: true, force: true });
});

async function portrait(index: number): Promise<string> {
  const path = join(dir, `portrait${index}.jpg`);
  writeFileSync(path, await encodeJpeg(cropWithMargin(frame, faces.boxes[index]!, 1), 95));
  return path;
}

test('a running recogniser follows its gallery', async () => {
  const gallery = join(dir, 'people');
  const enrol = async (name: string, index: number) =>
    enrolPerson({
      ...{ dir: gallery, name, pictures: [await portrait(index)], cacheDir: join(dir, 'cache') },
      onProgress() {},
    });
  expect(await enrol('Ada', 0)).toEqual({ name: 'Ada', pictures: 1 });
  const handler = await createProcessing(recognizeFace, { classifier: gallery, gpu: false });
  opened.push(handler);
  const labels = async () => (await outputOf(handler, [faces], 'boxes')).boxes.map((box) => box.label);
  const becomes = (...expected: string[]) =>
    vi.waitFor(async () => expect(await labels()).toEqual(expected), {
      timeout: 10 * GALLERY_LOOK_MS,
      interval: GALLERY_LOOK_MS / 10,
    });
  expect(await labels()).toEqual(['Ada', 'unknown', 'unknown']);
  await enrol('Bea', 1);
  await becomes('Ada', 'Bea', 'unknown');
  removePerson(gallery, 'Ada');
  await becomes('unknown', 'Bea', 'unknown');
  removePerson(gallery, 'Bea');
  await becomes('unknown', 'unknown', 'unknown');
});
