/**
 * Pictures in and out of RGB frames. Decoding, encoding and resizing run in libvips' worker threads, off the event loop.
 * Pictures come from strangers: the header is read and checked before any pixel is decoded, only raster formats are
 * accepted (an SVG could name other files), and a truncated or damaged file is an error, never a half grey frame
 * (libvips counts some damage as a warning only, hence failOn: 'warning').
 */
import sharp, { type Metadata, type Sharp } from 'sharp';
import { OrchestratorError } from '../contracts/errors.js';
import { PICTURE_PIXELS_MAX } from '../contracts/limits.js';
import type { Frame } from '../contracts/packet.js';
import type { Rect } from './geometry.js';
import { cropPixels, type Pixels } from './warp.js';

export { drawBoxes } from './draw.js';
export { CROP_MARGIN, cropWithMargin, sampleRect, warpSimilarity } from './warp.js';

// One thread per picture: handlers are declared and measured by the CPU of one core. A cache of operations never hits on
// video and only holds memory.
sharp.concurrency(1);
sharp.cache(false);

const FORMATS = new Set(['jpeg', 'png', 'webp', 'gif', 'tiff', 'heif']);

/**
 * A picture file's bytes as an upright RGB frame: EXIF orientation applied, grey, CMYK and 16 bit converted to 8 bit
 * sRGB, transparency laid over white.
 * @param size asked size in pixels; with one side only, the other follows from the picture's proportions.
 * @throws PICTURE_INVALID (corrupt, truncated, unknown format), PICTURE_TOO_LARGE (over PICTURE_PIXELS_MAX pixels)
 */
export async function decodePicture(
  data: Buffer,
  size: { readonly width?: number; readonly height?: number } = {},
): Promise<Frame> {
  const { hasAlpha } = await checkHeader(data);
  const upright = sharp(data, { failOn: 'warning', limitInputPixels: PICTURE_PIXELS_MAX }).autoOrient();
  const fit = size.width && size.height ? 'fill' : 'inside';
  const sized = size.width || size.height ? upright.resize({ ...size, fit, kernel: 'linear' }) : upright;
  try {
    const opaque = hasAlpha ? sized.flatten({ background: '#ffffff' }) : sized;
    const { data: pixels, info } = await opaque
      .toColourspace('srgb')
      .raw({ depth: 'uchar' })
      .toBuffer({ resolveWithObject: true });
    return frameOf(pixels, info.width, info.height);
  } catch (error) {
    throw pictureInvalid(error);
  }
}

async function checkHeader(data: Buffer): Promise<Metadata> {
  let header: Metadata;
  try {
    header = await sharp(data, { failOn: 'warning', limitInputPixels: false }).metadata();
  } catch (error) {
    throw pictureInvalid(error);
  }
  if (!FORMATS.has(header.format ?? '')) {
    throw new OrchestratorError('PICTURE_INVALID', `the picture format ${header.format} is not accepted`, {
      format: header.format,
    });
  }
  const pixels = header.width * header.height;
  if (pixels > PICTURE_PIXELS_MAX) {
    throw new OrchestratorError(
      'PICTURE_TOO_LARGE',
      `the picture has ${header.width} x ${header.height} = ${pixels} pixels, at most ${PICTURE_PIXELS_MAX} are accepted`,
      { width: header.width, height: header.height },
    );
  }
  return header;
}

function pictureInvalid(error: unknown): OrchestratorError {
  const reason = error instanceof Error ? error.message : String(error);
  return new OrchestratorError('PICTURE_INVALID', `the picture cannot be decoded: ${reason}`, {}, { cause: error });
}

function frameOf(data: Buffer, width: number, height: number): Frame {
  return { type: 'frame', width, height, data };
}

function fromPixels(picture: Pixels): Sharp {
  return sharp(picture.data, {
    raw: { width: picture.width, height: picture.height, channels: 3 },
    limitInputPixels: false,
  });
}

/** @param quality 1..100 */
export async function encodeJpeg(frame: Pixels, quality: number): Promise<Buffer> {
  return fromPixels(frame).jpeg({ quality }).toBuffer();
}

/** The frame stretched to w x h pixels. */
export async function resizeFrame(frame: Pixels, w: number, h: number): Promise<Frame> {
  if (w === frame.width && h === frame.height) return frameOf(frame.data, w, h);
  const data = await fromPixels(frame).resize(w, h, { fit: 'fill', kernel: 'linear' }).raw().toBuffer();
  return frameOf(data, w, h);
}

/** Rounds after which libvips has its threads and tables, and our code is compiled. */
const WARM_ROUNDS = 3;

/** The first picture of a process takes four times as long as the next: this is one for nobody. */
export async function warmPictures(): Promise<void> {
  const side = 64;
  let frame: Pixels = { width: side, height: side, data: Buffer.alloc(3 * side * side, 128) };
  for (let round = 0; round < WARM_ROUNDS; round++) {
    frame = await decodePicture(await encodeJpeg(frame, 80));
    await resizeFrame(frame, side / 2, side / 2);
  }
}

/** Left and right exchanged. */
export async function mirrorFrame(frame: Pixels): Promise<Frame> {
  return frameOf(await fromPixels(frame).flop().raw().toBuffer(), frame.width, frame.height);
}

/** How a frame meets the input of a net: proportions kept in the top left corner of black, or stretched over all of it. */
export type Fit = 'letterbox' | 'stretch';

/** Bytes for a net's input; a point of it times (scaleX, scaleY) is a point of the frame. */
export interface Fitted {
  readonly data: Buffer;
  readonly width: number;
  readonly height: number;
  readonly scaleX: number;
  readonly scaleY: number;
}

/** The frame at width x height pixels; boxes found in the result are brought back with its scales. */
export async function fitFrame(frame: Pixels, width: number, height: number, fit: Fit): Promise<Fitted> {
  if (fit === 'stretch') {
    const { data } = await resizeFrame(frame, width, height);
    return { data, width, height, scaleX: frame.width / width, scaleY: frame.height / height };
  }
  const scale = Math.max(frame.width / width, frame.height / height);
  const data = await fromPixels(frame)
    .resize(width, height, { fit: 'contain', position: 'left top', background: '#000000', kernel: 'linear' })
    .raw()
    .toBuffer();
  return { data, width, height, scaleX: scale, scaleY: scale };
}

/** The pixels of a rectangle (whole pixels) as a frame; parts outside are black. */
export function cropFrame(frame: Pixels, rect: Rect): Frame {
  return { type: 'frame', ...cropPixels(frame, rect) };
}
