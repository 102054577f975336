/** dlib's files, written here byte by byte: what is read computes what it should, what is broken is named with its place. */
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { expect, it } from 'vitest';
import { convertMmod } from './convert-mmod.js';
import { readMmod } from './dlib-file.js';

const integer = (value: number) => {
  const bytes: number[] = [];
  for (let left = Math.abs(value); left > 0 || bytes.length === 0; left = Math.floor(left / 256))
    bytes.push(left % 256);
  return Buffer.from([bytes.length | (value < 0 ? 0x80 : 0), ...bytes]);
};
/** A multiple of 2^-20. */
const float = (value: number) => Buffer.concat([integer(Math.round(value * 2 ** 20)), integer(-20)]);
const text = (value: string) => Buffer.concat([integer(value.length), Buffer.from(value)]);
const sizes = (...of: number[]) => Buffer.concat(of.map(integer));
const tensor = (values: readonly number[]) =>
  Buffer.concat([integer(2), sizes(values.length, 1, 1, 1), Buffer.from(Float32Array.from(values).buffer)]);
const flags = Buffer.from('100');
const rates = Buffer.concat([1, 1, 1, 0].map(float));

const convolution = (out: number, channels: number, side: number, stride: number, filters: readonly number[]) =>
  Buffer.concat([
    text('con_4'),
    tensor([...filters, ...Array.from({ length: out }, (_, index) => index)]),
    sizes(out, side, side, stride, stride, 0, 0),
    ...[sizes(1, out, channels, side, side), sizes(1, 1, out, 1, 1)],
    rates,
  ]);
const normalisation = Buffer.concat([
  text('bn_con2'),
  tensor([2, 3, 0.5, 0.25]),
  ...[sizes(1, 1, 2, 1, 1), sizes(1, 1, 2, 1, 1), tensor([]), tensor([])],
  tensor([1, 2]),
  tensor([4, 9]),
  ...[integer(100), integer(50), rates, float(0)],
]);

/** A net of the given layers, the innermost first. */
function netOf(...details: Buffer[]): Buffer {
  const versions = details.map((_, index) => integer(index === details.length - 1 ? 3 : 2));
  const layers = details.map((one, index) =>
    Buffer.concat([one, flags, tensor([]), tensor([]), tensor([]), index === 0 ? integer(1) : Buffer.alloc(0)]),
  );
  return Buffer.concat([
    ...[integer(1), text('loss_mmod_'), integer(1), integer(80), integer(60)],
    ...[1, 1, 0.5, 0.25, 1, 0.5, 1].map(float),
    ...versions,
    ...[text('input_rgb_image_pyramid2'), float(100), float(50), float(0), integer(10), integer(11)],
    ...layers,
  ]);
}

const FIRST = [1, 0, 0, /* */ 0, 1, 1];
const small = () =>
  netOf(convolution(2, 3, 1, 2, FIRST), normalisation, text('relu_'), convolution(1, 2, 1, 2, [10, 100]));

it('a net of convolutions, normalisation and relu scores pixels as dlib would', async () => {
  const net = readMmod(small(), 'made.dat');
  expect(net).toMatchObject({ mean: [100, 50, 0], outerPadding: 11, window: { width: 80, height: 60 }, iouMax: 0.25 });
  const session = await InferenceSession.create(convertMmod(net));
  // Two pixels of 12 x 13 are looked at with stride 4 behind 11 zeros: cells 3 and on begin at pixel 1.
  const data = new Uint8Array(13 * 12 * 3);
  data.set([228, 178, 128], (1 * 12 + 1) * 3);
  const { scores, window } = await session.run({ pixels: new Tensor('uint8', data, [1, 13, 12, 3]) });
  expect(scores!.dims).toEqual([1, 1, 9, 9]);
  expect([...(window!.data as Float32Array)]).toEqual([80, 60, 0.25, 4, -11]);
  // Red .5, green .5 and blue .5 after the mean: .5 and 1 + 1 (bias), normalised and weighed.
  const [one, other] = [(0.5 - 1) * (2 / 2) + 0.5, (2 - 2) * (3 / 3) + 0.25];
  expect((scores!.data as Float32Array)[3 * 9 + 3]).toBeCloseTo(10 * one + 100 * other, 4);
  await session.release();
});

it('what is no such net is refused with the place', () => {
  const bytes = small();
  expect(() => readMmod(Buffer.from('JPEG or whatever'), 'x.dat')).toThrow(
    /x\.dat: it is no MMOD net of dlib \(byte 1/,
  );
  expect(() => readMmod(Buffer.alloc(0), 'x.dat')).toThrow('the file ends 1 bytes early');
  expect(() => readMmod(netOf(text('fc_2')), 'x.dat')).toThrow('layer fc_2 without a convolution');
  expect(() => readMmod(netOf(convolution(2, 3, 1, 1, FIRST)), 'x.dat')).toThrow('ends in 2 channels');
  expect(() => readMmod(netOf(convolution(2, 3, 1, 1, [1, 2])), 'x.dat')).toThrow('a form that is not read');
  // Wherever it breaks off, and whatever byte is wrong: an error, never a hang or a crash.
  for (let end = 0; end < bytes.length; end += 3) {
    expect(() => readMmod(bytes.subarray(0, end), 'x.dat')).toThrow('it is no MMOD net of dlib');
  }
  const huge = Buffer.from(bytes);
  huge.fill(0xff, 60, 90);
  expect(() => readMmod(huge, 'x.dat')).toThrow('it is no MMOD net of dlib');
});
