/**
 * Reads networks that dlib has serialised (dlib/serialize.h, dnn/core.h of dlib 19): whole numbers with their length in
 * front, floats as mantissa and exponent, tensors as raw 32-bit floats. A file is a nesting of layers without a table of
 * contents, so only the shape that is known here can be read: one chain of convolutions, affine or batch normalisation
 * layers and relus over an image pyramid, under the loss of a max-margin object detector (MMOD).
 */
import { OrchestratorError } from '../contracts/errors.js';

export interface DlibConvolution {
  /** [out, in, height, width], row-major. */
  readonly shape: readonly [number, number, number, number];
  readonly filters: Float32Array;
  readonly bias: Float32Array;
  readonly stride: number;
  readonly padding: number;
  /** Affine layer on top, by output channel, and relu on top of that; null where the chain has none. */
  readonly affine: { readonly gamma: Float32Array; readonly beta: Float32Array } | null;
  readonly relu: boolean;
}

export interface MmodNet {
  /** Subtracted from red, green and blue; the rest is divided by 256. */
  readonly mean: readonly [number, number, number];
  /** Zeros around the picture, pixels. */
  readonly outerPadding: number;
  readonly convolutions: readonly DlibConvolution[];
  /** Size of a detection, pixels of a pyramid level. */
  readonly window: { readonly width: number; readonly height: number };
  /** Overlap (IoU) above which the weaker of two detections goes. */
  readonly iouMax: number;
}

/** Layers of a chain; dlib's own face detector has 20. */
const LAYERS_MAX = 200;

/** @throws MODEL_INVALID with the place (byte) and what stands there */
export function readMmod(bytes: Buffer, where: string): MmodNet {
  const file = new DlibReader(bytes, where);
  file.expectInteger('version of the loss layer', 1, 1);
  file.expectText('loss_mmod_');
  const options = readOptions(file);
  const layers = countLayers(file);
  const { mean, outerPadding } = readInput(file);
  const convolutions: DlibConvolution[] = [];
  for (let layer = 0; layer < layers; layer++) {
    readDetails(file, convolutions);
    file.boolean();
    file.boolean();
    file.boolean();
    // Gradients and outputs of the training, empty in files that are published.
    for (const _ of ['x_grad', 'cached_output', layer === 0 ? 'grad_final' : 'params_grad']) file.tensor();
    if (layer === 0) file.integer();
  }
  const out = convolutions.at(-1)?.shape[0];
  if (out !== 1) throw file.wrong(`the net ends in ${out ?? 'no'} channels, one detection window is read`);
  return { mean, outerPadding, convolutions, ...options };
}

function readOptions(file: DlibReader): Pick<MmodNet, 'window' | 'iouMax'> {
  file.expectInteger('version of the MMOD options; only the first, of one window, is read', 1, 1);
  const window = { width: file.integer(), height: file.integer() };
  file.skipNumbers('loss per false alarm', 'loss per missed target', 'truth match IoU');
  const iouMax = file.number();
  file.skipNumbers('share covered', 'IoU to ignore', 'share covered to ignore');
  if (window.width < 8 || window.height < 8 || !(iouMax > 0 && iouMax <= 1)) {
    throw file.wrong(`a window of ${window.width} x ${window.height} and an IoU of ${iouMax} cannot be`);
  }
  return { window, iouMax };
}

/** Each layer begins with its version (1..3), the outermost first; what follows the innermost is the input's name. */
function countLayers(file: DlibReader): number {
  for (let layers = 0; layers <= LAYERS_MAX; layers++) {
    if (file.peekInteger() > 3) return layers;
    file.integer();
  }
  throw file.wrong(`more than ${LAYERS_MAX} layers`);
}

function readInput(file: DlibReader): Pick<MmodNet, 'mean' | 'outerPadding'> {
  const name = file.text();
  const mean = [file.number(), file.number(), file.number()] as const;
  if (name === 'input_rgb_image_pyramid') return { mean, outerPadding: 11 };
  if (name !== 'input_rgb_image_pyramid2') throw file.wrong(`input layer ${name}`);
  file.integer();
  return { mean, outerPadding: file.integer() };
}

function readDetails(file: DlibReader, convolutions: DlibConvolution[]): void {
  const kind = file.text();
  if (kind === 'con_4' || kind === 'con_5') {
    convolutions.push(readConvolution(file, kind));
    return;
  }
  const below = convolutions.pop();
  if (below === undefined || below.relu) throw file.wrong(`layer ${kind} without a convolution below`);
  if (kind === 'relu_') convolutions.push({ ...below, relu: true });
  else if (kind === 'affine_' || kind === 'affine_2') {
    convolutions.push({ ...below, affine: readAffine(file, kind, below) });
  } else if (kind === 'bn_con2') convolutions.push({ ...below, affine: readNormalisation(file, below) });
  else throw file.wrong(`layer ${kind}; con_, affine_, bn_con and relu_ are read`);
}

function readConvolution(file: DlibReader, kind: string): DlibConvolution {
  const params = file.tensor();
  const [out, height, width] = [file.integer(), file.integer(), file.integer()];
  const [strideY, strideX, paddingY, paddingX] = [file.integer(), file.integer(), file.integer(), file.integer()];
  const shape = file.alias();
  file.alias();
  file.skipNumbers('learning rate', 'weight decay', 'bias learning rate', 'bias weight decay');
  if (kind === 'con_5') file.boolean();
  const count = shape.reduce((product, size) => product * size, 1);
  const fits = shape[0] === out && shape[2] === height && shape[3] === width && params.length === count + out;
  if (!fits || strideX !== strideY || paddingX !== paddingY)
    throw file.wrong('a convolution of a form that is not read');
  return {
    shape,
    filters: params.subarray(0, count),
    bias: params.subarray(count),
    stride: strideX,
    padding: paddingX,
    affine: null,
    relu: false,
  };
}

function readAffine(file: DlibReader, kind: string, below: DlibConvolution): DlibConvolution['affine'] {
  const affine = gammaAndBeta(file, below);
  file.integer();
  if (kind === 'affine_2') file.boolean();
  return affine;
}

/** Batch normalisation of the training is an affine layer of its running means and variances at run time. */
function readNormalisation(file: DlibReader, below: DlibConvolution): DlibConvolution['affine'] {
  const { gamma, beta } = gammaAndBeta(file, below);
  // Of the last batch: means and 1 / deviations.
  file.tensor();
  file.tensor();
  const [means, variances] = [file.tensor(), file.tensor()];
  if (means.length !== gamma.length || variances.length !== gamma.length)
    throw file.wrong('statistics of another length');
  file.integer();
  file.integer();
  file.skipNumbers('learning rate', 'weight decay', 'bias learning rate', 'bias weight decay');
  const epsilon = file.number();
  const scale = gamma.map((value, channel) => value / Math.sqrt(variances[channel]! + epsilon));
  return { gamma: scale, beta: beta.map((value, channel) => value - scale[channel]! * means[channel]!) };
}

function gammaAndBeta(file: DlibReader, { shape }: DlibConvolution) {
  const params = file.tensor();
  file.alias();
  file.alias();
  const channels = shape[0];
  if (params.length !== 2 * channels) throw file.wrong(`${params.length} numbers to scale ${channels} channels`);
  return { gamma: params.subarray(0, channels), beta: params.subarray(channels) };
}

class DlibReader {
  private at = 0;
  private readonly bytes: Buffer;
  private readonly where: string;

  constructor(bytes: Buffer, where: string) {
    this.bytes = bytes;
    this.where = where;
  }

  wrong(what: string): OrchestratorError {
    return new OrchestratorError(
      'MODEL_INVALID',
      `${this.where}: it is no MMOD net of dlib (byte ${this.at}: ${what})`,
      {
        path: this.where,
        byte: this.at,
      },
    );
  }

  /** A control byte (low four bits: bytes that follow; highest bit: minus), then the value, lowest byte first. */
  integer(): number {
    const control = this.take(1)[0]!;
    const size = control & 0x0f;
    if (size === 0 || size > 8 || (control & 0x70) !== 0) throw this.wrong(`control byte ${control} of a whole number`);
    let value = 0;
    for (const [index, byte] of this.take(size).entries()) value += byte * 256 ** index;
    return control & 0x80 ? -value : value;
  }

  peekInteger(): number {
    const { at } = this;
    const value = this.integer();
    this.at = at;
    return value;
  }

  expectInteger(what: string, least: number, most: number): number {
    const value = this.integer();
    if (value < least || value > most) throw this.wrong(`${value} as ${what}`);
    return value;
  }

  number(): number {
    const [mantissa, exponent] = [this.integer(), this.integer()];
    const value = mantissa * 2 ** exponent;
    if (!Number.isFinite(value)) throw this.wrong(`number ${mantissa} * 2 ^ ${exponent}`);
    return value;
  }

  skipNumbers(...what: readonly string[]): void {
    for (const _ of what) this.number();
  }

  boolean(): void {
    const [value] = this.take(1);
    if (value !== 0x30 && value !== 0x31) throw this.wrong(`${value} as a boolean`);
  }

  text(): string {
    const length = this.integer();
    if (length < 0 || length > 100) throw this.wrong(`a text of ${length} bytes`);
    return this.take(length).toString('latin1');
  }

  expectText(expected: string): void {
    const text = this.text();
    if (text !== expected) throw this.wrong(`${JSON.stringify(text)} in the place of ${expected}`);
  }

  /** Version, four sizes, then the values. */
  tensor(): Float32Array {
    this.expectInteger('version of a tensor', 2, 2);
    const count = this.sizes().reduce((product, size) => product * size, 1);
    const bytes = this.take(count * 4);
    return Float32Array.from({ length: count }, (_, index) => bytes.readFloatLE(index * 4));
  }

  /** A view into a tensor: version and four sizes. */
  alias(): [number, number, number, number] {
    this.expectInteger('version of a view', 1, 1);
    return this.sizes();
  }

  private sizes(): [number, number, number, number] {
    const sizes = [this.integer(), this.integer(), this.integer(), this.integer()] as [number, number, number, number];
    if (sizes.some((size) => size < 0)) throw this.wrong(`a tensor of ${sizes.join(' x ')}`);
    return sizes;
  }

  private take(size: number): Buffer {
    if (this.at + size > this.bytes.length)
      throw this.wrong(`the file ends ${this.at + size - this.bytes.length} bytes early`);
    this.at += size;
    return this.bytes.subarray(this.at - size, this.at);
  }
}
