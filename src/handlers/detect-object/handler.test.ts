import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Boxes, Frame } from '../../contracts/packet.js';
import type { ProcessingHandler } from '../../handler-kit/define.js';
import { iou } from '../../vision/geometry.js';
import { decodePicture } from '../../vision/images.js';
import { createProcessing, outputOf, samplePath } from '../context.testing.js';
import { manifest } from './manifest.js';

const opened: ProcessingHandler[] = [];
async function create(params: Record<string, unknown> = {}): Promise<ProcessingHandler> {
  const handler = await createProcessing(manifest, { gpu: false, size: 320, ...params });
  opened.push(handler);
  return handler;
}
afterAll(async () => {
  for (const handler of opened) await handler.close();
});

/** Three people side by side. */
let frame: Frame;
let found: Boxes;
beforeAll(async () => {
  frame = await decodePicture(readFileSync(samplePath(1)));
  found = await outputOf(await create(), [frame], 'boxes');
});

const labels = (boxes: Boxes) => boxes.boxes.map((box) => box.label);

test('finds people, inside the frame, with their pixels', () => {
  expect(labels(found).filter((label) => label === 'person').length).toBeGreaterThanOrEqual(3);
  for (const { x, y, w, h, prob, crop } of found.boxes) {
    expect(x >= 0 && y >= 0 && x + w <= frame.width + 0.01 && y + h <= frame.height + 0.01).toBe(true);
    expect(prob).toBeGreaterThanOrEqual(0.25);
    expect(crop!.data.length).toBe(crop!.width * crop!.height * 3);
  }
});

test('targets keep other classes out; the files of the reference are taken and do nothing', async () => {
  const params = {
    targets: ['dog'],
    config: 'yolo.cfg',
    weights: 'yolo.weights',
    labels: 'coco.names',
    hier_thresh: 0.5,
  };
  expect(labels(await outputOf(await create(params), [frame], 'boxes'))).toEqual([]);
  const one = await create({ targets: ['person'], multiple: false, with_crop: false });
  const best = (await outputOf(one, [frame], 'boxes')).boxes;
  expect(best).toHaveLength(1);
  expect(best[0]!.crop).toBeUndefined();
  expect(best[0]!.prob).toBe(Math.max(...found.boxes.filter((box) => box.label === 'person').map((box) => box.prob)));
});

test('given boxes, it looks into each crop and tells places in the frame', async () => {
  const people = found.boxes.filter((box) => box.label === 'person').slice(0, 2);
  const again = await outputOf(await create({ targets: ['person'] }), [{ ...found, boxes: people }], 'boxes');
  expect(again.boxes.length).toBeGreaterThanOrEqual(1);
  for (const person of people) {
    expect(Math.max(...again.boxes.map((box) => iou(box, person)))).toBeGreaterThan(0.5);
  }
  expect([again.frame_width, again.frame_height]).toEqual([frame.width, frame.height]);
});

test.each([
  [{ targets: ['unicorn'] }, 'unicorn'],
  [{ targets: [] }, '/targets'],
  [{ size: 20 }, '/size'],
  [{ thresh: 1.1 }, '/thresh'],
  [{ model: 'a/b' }, '/model'],
])('refuses %o', async (params, named) => {
  await expect(create(params)).rejects.toMatchObject({
    code: 'HANDLER_PARAMS_INVALID',
    message: expect.stringContaining(named),
  });
});

test.each([
  [{ model: 'yolo' }, 'no model yolo for detect_object; there are centernet'],
  [{ size: 500 }, 'no input size 500'],
])('refuses %o, which this node does not have', async (params, named) => {
  await expect(create(params)).rejects.toMatchObject({
    code: 'MODEL_NOT_FOUND',
    message: expect.stringContaining(named),
  });
});
