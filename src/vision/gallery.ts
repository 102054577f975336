/**
 * The enrolled faces that recognition compares with: one folder per person, any number of pictures in it. The folder's
 * name is the label. Embeddings are cached by the pictures' content and the models, so that a handler starts quickly.
 */
import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, stat } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { OrchestratorError } from '../contracts/errors.js';
import type { Box, Frame } from '../contracts/packet.js';
import { alignFace } from './align.js';
import type { FaceDetector } from './face-detector.js';
import { expandRect } from './geometry.js';
import { cropFrame, decodePicture } from './images.js';
import type { Landmarker } from './landmarker.js';
import { defaultCacheDir, type Progress } from './model-cache.js';
import { writeWhole } from './model-files.js';
import type { Recognizer } from './recognizer.js';

export interface GalleryFace {
  readonly label: string;
  /** L2-normalised. */
  readonly embedding: Float32Array;
}

export interface Gallery {
  readonly faces: readonly GalleryFace[];
  readonly dim: number;
  /** Distance = this * euclidean distance of normalised embeddings (Recognizer.distanceScale). */
  readonly distanceScale: number;
}

export interface GalleryOptions {
  /** Folder that holds one folder per person. */
  readonly dir: string;
  readonly recognizer: Recognizer;
  readonly detector: FaceDetector;
  readonly landmarker: Landmarker;
  readonly cacheDir?: string;
  readonly onProgress?: Progress;
}

export interface Match {
  readonly label: string;
  readonly distance: number;
}

export const UNKNOWN_LABEL = 'unknown';

/** Raised when the way from a picture to its embedding changes. */
const PIPELINE_VERSION = 1;
const PICTURE_TYPES = new Set(['.jpg', '.jpeg', '.png', '.webp']);
/** Enrolled pictures; comparing a face with all of them stays under a millisecond or two. */
const PICTURES_MAX = 20_000;

interface Picture {
  readonly label: string;
  readonly path: string;
}

/** @throws GALLERY_INVALID naming the folder or picture: missing, empty, not decodable, or without a face */
export async function buildGallery(options: GalleryOptions): Promise<Gallery> {
  const { dir, recognizer } = options;
  const pictures = await listPictures(dir);
  const faces: GalleryFace[] = [];
  for (const [index, { label, path }] of pictures.entries()) {
    faces.push({ label, embedding: await embedPicture(path, options) });
    if ((index + 1) % 50 === 0) options.onProgress?.(`gallery ${dir}: ${index + 1} of ${pictures.length} pictures`);
  }
  return { faces, dim: recognizer.dim, distanceScale: recognizer.distanceScale };
}

/** Changes with the pictures of a gallery; empty when there are none, or no folder. */
export async function gallerySignature(dir: string): Promise<string> {
  const people = await readdir(dir, { withFileTypes: true }).catch(() => []);
  const parts: string[] = [];
  for (const person of people.filter((entry) => entry.isDirectory() && !entry.name.startsWith('.'))) {
    for (const file of (await readdir(join(dir, person.name)).catch(() => [])).filter(isPicture)) {
      const facts = await stat(join(dir, person.name, file)).catch(() => null);
      if (facts !== null) parts.push(`${person.name}/${file} ${facts.size} ${facts.mtimeMs}`);
    }
  }
  return parts.sort().join('\n');
}

const isPicture = (name: string) => !name.startsWith('.') && PICTURE_TYPES.has(extname(name).toLowerCase());

/** The nearest enrolled face; its label is `unknown` when it is farther than `thresh` (or the gallery is empty). */
export function matchGallery(gallery: Gallery, embedding: Float32Array, thresh: number): Match {
  let best = Number.POSITIVE_INFINITY;
  let label = UNKNOWN_LABEL;
  for (const face of gallery.faces) {
    const squared = squaredDistance(face.embedding, embedding, best);
    if (squared >= best) continue;
    best = squared;
    label = face.label;
  }
  const distance = Math.sqrt(best) * gallery.distanceScale;
  return { label: distance <= thresh ? label : UNKNOWN_LABEL, distance };
}

/** Stops early once it exceeds `limit`: it can no longer be the nearest. */
function squaredDistance(first: Float32Array, second: Float32Array, limit: number): number {
  let sum = 0;
  for (let i = 0; i < first.length && sum < limit; i++) {
    const difference = first[i]! - second[i]!;
    sum += difference * difference;
  }
  return sum;
}

const invalid = (message: string, path: string, cause?: unknown) =>
  new OrchestratorError('GALLERY_INVALID', message, { path }, { cause });

async function listPictures(dir: string): Promise<Picture[]> {
  const people = await readFolder(dir);
  const pictures: Picture[] = [];
  for (const person of people.filter((entry) => entry.isDirectory())) {
    const folder = join(dir, person.name);
    const files = (await readFolder(folder)).filter((file) => isPicture(file.name));
    if (files.length === 0) throw invalid(`gallery folder ${folder} holds no picture (.jpg, .png, .webp)`, folder);
    for (const file of files) pictures.push({ label: person.name, path: join(folder, file.name) });
  }
  if (pictures.length === 0) throw invalid(`gallery ${dir} holds no folder with pictures; make one per person`, dir);
  if (pictures.length > PICTURES_MAX) {
    throw invalid(`gallery ${dir} holds ${pictures.length} pictures, at most ${PICTURES_MAX} are accepted`, dir);
  }
  return pictures;
}

async function readFolder(dir: string) {
  try {
    const entries = await readdir(dir, { withFileTypes: true });
    return entries.filter((entry) => !entry.name.startsWith('.')).sort((a, b) => (a.name < b.name ? -1 : 1));
  } catch (error) {
    throw invalid(`gallery folder ${dir} cannot be read`, dir, error);
  }
}

async function embedPicture(path: string, options: GalleryOptions): Promise<Float32Array> {
  const { recognizer, detector, landmarker, onProgress } = options;
  let bytes: Buffer;
  try {
    bytes = await readFile(path);
  } catch (error) {
    throw invalid(`gallery picture ${path} cannot be read`, path, error);
  }
  const recipe = `${PIPELINE_VERSION} ${detector.model} ${landmarker.model} ${recognizer.key}`;
  const key = createHash('sha256').update(recipe).update('\0').update(bytes).digest('hex');
  const cacheDir = join(options.cacheDir ?? defaultCacheDir(), 'gallery');
  const cachePath = join(cacheDir, `${key}.f32`);
  const cached = await readEmbedding(cachePath, recognizer.dim);
  if (cached) return cached;
  const embedding = await embedFace(path, bytes, options);
  try {
    await mkdir(cacheDir, { recursive: true });
    await writeWhole(cachePath, Buffer.from(embedding.buffer, embedding.byteOffset, embedding.byteLength));
  } catch (error) {
    onProgress?.(`${cachePath} cannot be written (${String(error)}); the gallery is read anew at each start`);
  }
  return embedding;
}

/** A cached embedding that has the right length and is normalised; anything else is made again. */
async function readEmbedding(path: string, dim: number): Promise<Float32Array | null> {
  const bytes = await readFile(path).catch(() => null);
  if (bytes?.length !== dim * 4) return null;
  const embedding = new Float32Array(new Uint8Array(bytes).buffer);
  const norm = embedding.reduce((sum, value) => sum + value * value, 0);
  return Math.abs(norm - 1) < 1e-3 ? embedding : null;
}

async function embedFace(path: string, bytes: Buffer, options: GalleryOptions): Promise<Float32Array> {
  const { recognizer, landmarker } = options;
  const picture = await decodePicture(bytes).catch((error: unknown) => {
    const reason = error instanceof Error ? error.message : String(error);
    throw invalid(`gallery picture ${path}: ${reason}`, path, error);
  });
  const found = await findFace(picture, options.detector);
  if (!found) throw invalid(`no face was found in the gallery picture ${path}`, path);
  const [located] = await landmarker.locate([found.box], found.frame);
  const chip = alignFace(located!, { chip: recognizer.chip, frame: found.frame })!;
  const [embedding] = await recognizer.embed([chip]);
  return embedding!;
}

/** Portraits that a face fills to the rim are often missed; with a black border as wide as this share they are found. */
const BORDERS = [0, 0.5, 1];

/** Where a picture shows several faces, the likeliest counts, not the largest. The box lies in the returned frame. */
async function findFace(picture: Frame, detector: FaceDetector): Promise<{ frame: Frame; box: Box } | null> {
  const whole = { x: 0, y: 0, w: picture.width, h: picture.height };
  for (const border of BORDERS) {
    const frame = border === 0 ? picture : cropFrame(picture, expandRect(whole, border));
    const [box] = await detector.detect(frame);
    if (box) return { frame, box };
  }
  return null;
}
