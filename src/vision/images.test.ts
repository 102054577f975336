import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { cropFrame, decodePicture, encodeJpeg, fitFrame, resizeFrame } from './images.js';

const WIDTH = 40;
const HEIGHT = 30;
/** Left half red, right half blue. */
const picture = () => {
  const half = { width: WIDTH / 2, height: HEIGHT, channels: 3 as const };
  return sharp({ create: { width: WIDTH, height: HEIGHT, channels: 3, background: '#0000ff' } }).composite([
    { input: { create: { ...half, background: '#ff0000' } }, left: 0, top: 0 },
  ]);
};
const at = (frame: { data: Buffer; width: number }, x: number, y: number) => [
  ...frame.data.subarray((y * frame.width + x) * 3, (y * frame.width + x) * 3 + 3),
];
const isRed = ([r, g, b]: number[]) => r! > 180 && g! < 90 && b! < 90;

/** A small JPEG whose header claims another size. */
async function claiming(width: number, height: number): Promise<Buffer> {
  const bytes = await picture().jpeg().toBuffer();
  const startOfFrame = bytes.indexOf(Buffer.from([0xff, 0xc0]));
  bytes.writeUInt16BE(height, startOfFrame + 5);
  bytes.writeUInt16BE(width, startOfFrame + 7);
  return bytes;
}

describe('decodePicture', () => {
  it.each(['jpeg', 'png', 'webp', 'tiff'] as const)('reads %s', async (format) => {
    const frame = await decodePicture(await picture().toFormat(format).toBuffer());
    expect(frame).toMatchObject({ type: 'frame', width: WIDTH, height: HEIGHT });
    expect(frame.data).toHaveLength(WIDTH * HEIGHT * 3);
    expect(isRed(at(frame, 3, 3))).toBe(true);
    expect(isRed(at(frame, WIDTH - 3, 3))).toBe(false);
  });

  it('makes three channels of grey', async () => {
    const grey = await decodePicture(await picture().toColourspace('b-w').jpeg().toBuffer());
    expect(grey.data).toHaveLength(WIDTH * HEIGHT * 3);
    const [r, g, b] = at(grey, 3, 3);
    expect([g, b]).toEqual([r, r]);
  });

  it('converts CMYK', async () => {
    const frame = await decodePicture(await picture().toColourspace('cmyk').jpeg({ quality: 95 }).toBuffer());
    expect(frame.data).toHaveLength(WIDTH * HEIGHT * 3);
    expect(isRed(at(frame, 3, 3))).toBe(true);
  });

  it('converts 16 bit', async () => {
    const bytes = await picture().toColourspace('rgb16').png().toBuffer();
    expect((await sharp(bytes).metadata()).depth).toBe('ushort');
    const frame = await decodePicture(bytes);
    expect(frame.data).toHaveLength(WIDTH * HEIGHT * 3);
    expect(at(frame, 3, 3)).toEqual([255, 0, 0]);
  });

  it('lays transparency over white', async () => {
    const clear = sharp({ create: { width: 4, height: 4, channels: 4, background: { r: 0, g: 0, b: 0, alpha: 0 } } });
    const frame = await decodePicture(await clear.png().toBuffer());
    expect(frame.data).toEqual(Buffer.alloc(48, 255));
  });

  it('turns the picture as its EXIF data says', async () => {
    const frame = await decodePicture(await picture().jpeg().withMetadata({ orientation: 6 }).toBuffer());
    expect(frame).toMatchObject({ width: HEIGHT, height: WIDTH });
    expect(isRed(at(frame, 3, 3))).toBe(true);
    expect(isRed(at(frame, 3, WIDTH - 3))).toBe(false);
  });

  it('resizes to the asked size, turned pictures too', async () => {
    const bytes = await picture().jpeg().withMetadata({ orientation: 6 }).toBuffer();
    expect(await decodePicture(bytes, { width: 20, height: 12 })).toMatchObject({ width: 20, height: 12 });
    expect(await decodePicture(bytes, { width: 15 })).toMatchObject({ width: 15, height: 20 });
  });

  it('reads 1 x 1', async () => {
    const one = sharp({ create: { width: 1, height: 1, channels: 3, background: '#102030' } });
    expect((await decodePicture(await one.png().toBuffer())).data).toEqual(Buffer.from([0x10, 0x20, 0x30]));
  });

  it('refuses what is no picture', async () => {
    const svg = Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>');
    for (const bytes of [Buffer.alloc(0), Buffer.from('not a picture'), svg]) {
      await expect(decodePicture(bytes)).rejects.toMatchObject({ code: 'PICTURE_INVALID' });
    }
  });

  it('refuses a truncated or corrupt picture', async () => {
    const noise = Buffer.from(Array.from({ length: 200 * 200 * 3 }, (_, i) => (i * 7919) % 256));
    const whole = await sharp(noise, { raw: { width: 200, height: 200, channels: 3 } })
      .jpeg()
      .toBuffer();
    for (const share of [0.1, 0.5, 0.95]) {
      const bytes = whole.subarray(0, Math.floor(whole.length * share));
      await expect(decodePicture(bytes), `${share}`).rejects.toMatchObject({ code: 'PICTURE_INVALID' });
      await expect(decodePicture(bytes, { width: 20 }), `${share}`).rejects.toMatchObject({ code: 'PICTURE_INVALID' });
    }
    await expect(decodePicture(await claiming(4000, 4000))).rejects.toMatchObject({ code: 'PICTURE_INVALID' });
  });

  it('refuses a header that claims 20000 x 20000 before decoding', async () => {
    const refused = decodePicture(await claiming(20_000, 20_000));
    await expect(refused).rejects.toMatchObject({ code: 'PICTURE_TOO_LARGE', message: /20000 x 20000 .*100000000/ });
  });
});

describe('frames', () => {
  const frame = async () => decodePicture(await picture().png().toBuffer());

  it('survive JPEG', async () => {
    const back = await decodePicture(await encodeJpeg(await frame(), 90));
    expect(back).toMatchObject({ width: WIDTH, height: HEIGHT });
    expect(isRed(at(back, 3, 3))).toBe(true);
  });

  it('are resized', async () => {
    const small = await resizeFrame(await frame(), 8, 16);
    expect(small).toMatchObject({ type: 'frame', width: 8, height: 16 });
    expect(small.data).toHaveLength(8 * 16 * 3);
    expect(isRed(at(small, 1, 8))).toBe(true);
  });

  it('fit into a square with the rest black', async () => {
    const { data, scaleX, scaleY } = await fitFrame(await frame(), 20, 20, 'letterbox');
    expect([scaleX, scaleY]).toEqual([2, 2]);
    expect(data).toHaveLength(20 * 20 * 3);
    expect(isRed(at({ data, width: 20 }, 2, 2))).toBe(true);
    expect(at({ data, width: 20 }, 2, 18)).toEqual([0, 0, 0]);
  });

  it('stretch over an input of other proportions', async () => {
    const { data, scaleX, scaleY } = await fitFrame(await frame(), 10, 15, 'stretch');
    expect([scaleX, scaleY]).toEqual([4, 2]);
    expect(data).toHaveLength(10 * 15 * 3);
    expect(isRed(at({ data, width: 10 }, 1, 14))).toBe(true);
  });

  it('are cropped', async () => {
    const crop = cropFrame(await frame(), { x: 30, y: 10, w: 20, h: 10 });
    expect(crop).toMatchObject({ type: 'frame', width: 20, height: 10 });
    expect(at(crop, 0, 0)).toEqual([0, 0, 255]);
    expect(at(crop, 15, 0)).toEqual([0, 0, 0]);
  });
});
