/** encode, decode, resize and the two draw handlers: each is one call of an image operation, and one graph in a row. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import type { Boxes, BoxRecord, Frame, Jpeg } from '../contracts/packet.js';
import { createProcessing, outputOf, packetOf, samplePath } from './context.testing.js';
import { manifest as decode } from './decode/manifest.js';
import { recordsOf } from './draw.js';
import { manifest as drawBoxes } from './draw-boxes/manifest.js';
import { manifest as drawLabeledBoxes } from './draw-labeled-boxes/manifest.js';
import { manifest as encode } from './encode/manifest.js';
import { manifest as resize } from './resize/manifest.js';

const sample: Jpeg = { type: 'jpeg', data: readFileSync(samplePath(1)) };
const frame: Frame = await outputOf(await createProcessing(decode), [sample], 'frame');

function boxes(...given: Boxes['boxes'][number][]): Boxes {
  return { type: 'boxes', frame_width: frame.width, frame_height: frame.height, boxes: given };
}

const ada = { label: 'Ada', prob: 0.98765, x: 100.06, y: 50, w: 120, h: 140 };

test('decode gives the pixels of a JPEG, encode makes one again, smaller with less quality', async () => {
  expect(frame.data.length).toBe(frame.width * frame.height * 3);
  const fine = await outputOf(await createProcessing(encode, { quality: 90 }), [frame], 'jpeg');
  const coarse = await outputOf(await createProcessing(encode, { quality: 20 }), [frame], 'jpeg');
  expect(coarse.data.length).toBeLessThan(fine.data.length / 2);
  const back = await outputOf(await createProcessing(decode), [fine], 'frame');
  expect([back.width, back.height]).toEqual([frame.width, frame.height]);
});

test('encode makes wider pictures smaller, in proportion, and leaves others', async () => {
  const widthAfter = async (width: number) => {
    const jpeg = await outputOf(await createProcessing(encode, { width }), [frame], 'jpeg');
    return (await outputOf(await createProcessing(decode), [jpeg], 'frame')).width;
  };
  expect(await widthAfter(640)).toBe(640);
  expect(await widthAfter(frame.width + 1)).toBe(frame.width);
});

test.each([
  ['text', Buffer.from('this is no picture')],
  ['nothing', Buffer.alloc(0)],
  ['half a JPEG', sample.data.subarray(0, sample.data.length / 2)],
])('decode refuses %s', async (_what, data) => {
  const handler = await createProcessing(decode);
  await expect(handler.process([packetOf({ type: 'jpeg', data })])).rejects.toMatchObject({ code: 'PICTURE_INVALID' });
});

test('resize takes both sides, or one and the proportions, or neither', async () => {
  const sizeOf = async (params: object) => {
    const { width, height } = await outputOf(await createProcessing(resize, { ...params }), [frame], 'frame');
    return [width, height];
  };
  expect(await sizeOf({})).toEqual([640, 480]);
  expect(await sizeOf({ width: 320, height: 0 })).toEqual([320, Math.round((320 * frame.height) / frame.width)]);
  expect(await sizeOf({ width: 0, height: 100 })).toEqual([Math.round((100 * frame.width) / frame.height), 100]);
  expect(await sizeOf({ width: 0, height: 0 })).toEqual([frame.width, frame.height]);
});

test('a payload of the wrong type is refused with what is accepted', async () => {
  const handler = await createProcessing(encode);
  await expect(handler.process([packetOf(sample)])).rejects.toThrow('input 0 got jpeg, it accepts frame');
});

test.each([
  ['encode', encode, { quality: 101 }, '/quality'],
  ['encode', encode, { quality: 0 }, '/quality'],
  ['resize', resize, { width: -1 }, '/width'],
  ['resize', resize, { height: 1.5 }, '/height'],
])('%s refuses parameters out of range', async (_name, manifest, params, field) => {
  await expect(createProcessing(manifest, params)).rejects.toMatchObject({
    code: 'HANDLER_PARAMS_INVALID',
    message: expect.stringContaining(field),
  });
});

test.each([
  ['draw_boxes', drawBoxes],
  ['draw_labeled_boxes', drawLabeledBoxes],
])('%s draws on a copy and hands the boxes on', async (_name, manifest) => {
  const before = Buffer.from(frame.data);
  const handler = await createProcessing(manifest);
  const packets = [packetOf(frame, 3, { input: 'a.jpg' }), packetOf(boxes(ada), 3, { note: 'from detect' })];
  const { outputs, metadata } = await handler.process(packets);
  expect(frame.data.equals(before)).toBe(true);
  expect((outputs[0] as Frame).data.equals(before)).toBe(false);
  expect(metadata).toEqual({
    input: 'a.jpg',
    note: 'from detect',
    boxes: [{ label: 'Ada', prob: 0.9877, x: 100.1, y: 50, w: 120, h: 140 }],
  });
});

test('labels are what tells the two draw handlers apart', async () => {
  const plain = await outputOf(await createProcessing(drawBoxes), [frame, boxes(ada)], 'frame');
  const labelled = await outputOf(await createProcessing(drawLabeledBoxes), [frame, boxes(ada)], 'frame');
  expect(plain.data.equals(labelled.data)).toBe(false);
});

test('boxes found on a smaller picture are drawn where they belong', async () => {
  const half: Boxes = {
    type: 'boxes',
    frame_width: frame.width / 2,
    frame_height: frame.height / 2,
    boxes: [{ ...ada, x: ada.x / 2, y: ada.y / 2, w: ada.w / 2, h: ada.h / 2 }],
  };
  const handler = await createProcessing(drawBoxes);
  const small = await handler.process([packetOf(frame), packetOf(half)]);
  const full = await handler.process([packetOf(frame), packetOf(boxes(ada))]);
  expect(small.metadata).toEqual(full.metadata);
  expect((small.outputs[0] as Frame).data.equals((full.outputs[0] as Frame).data)).toBe(true);
});

test('embeddings pass through as numbers that read back to the same floats, up to a bound', () => {
  const embedding = Float32Array.from({ length: 1024 }, (_, i) => Math.sin(i) / 32);
  const records: BoxRecord[] = recordsOf(Array.from({ length: 65 }, () => ({ ...ada, embedding })));
  expect(records[0]!.embedding).toHaveLength(1024);
  records[0]!.embedding!.forEach((value, i) => {
    expect(Math.abs(value - embedding[i]!)).toBeLessThan(1e-7);
  });
  expect(records[64]!.embedding).toBeUndefined();
  expect(records[64]!.note).toContain('embedding left out');
  expect(JSON.stringify(records).length).toBeLessThan(1024 * 1024);
});
