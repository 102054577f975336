/** `gallery`: people enrolled from pictures, listed and removed. A gallery is a folder with one folder per person. */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { OrchestratorError } from '../contracts/errors.js';
import { createFaceDetector } from '../vision/face-detector.js';
import { expandRect } from '../vision/geometry.js';
import { cropFrame, decodePicture, encodeJpeg } from '../vision/images.js';
import type { Progress } from '../vision/model-cache.js';
import { writeWhole } from '../vision/model-files.js';
import { FACE_HEIGHT_MIN_PX } from '../vision/recognizer.js';

/** Around the face, as a share of its size: the detector must find it again in the crop. */
const MARGIN = 0.6;
const JPEG_QUALITY = 95;

export interface Person {
  readonly name: string;
  readonly pictures: number;
}

export interface EnrolOptions {
  readonly dir: string;
  readonly name: string;
  readonly pictures: readonly string[];
  readonly cacheDir: string;
  readonly onProgress: Progress;
}

/**
 * The likeliest face of each picture, kept as a crop; the same picture twice is one. All pictures are looked at before any
 * is kept.
 * @throws GALLERY_INVALID naming the picture: not readable, no face, or one too small to be recognised by
 */
export async function enrolPerson({ dir, name, pictures, ...options }: EnrolOptions): Promise<Person> {
  checkName(name);
  const detector = await createFaceDetector(options);
  const crops = new Map<string, Buffer>();
  try {
    for (const path of pictures) {
      options.onProgress(`looking for a face in ${path}`);
      const bytes = await readFile(path).catch((error: unknown) => refuse(path, 'cannot be read', error));
      const frame = await decodePicture(bytes).catch((error: unknown) => refuse(path, String(error), error));
      const [face] = await detector.detect(frame);
      if (face === undefined) return refuse(path, 'shows no face');
      if (face.h < FACE_HEIGHT_MIN_PX) {
        return refuse(path, `shows a face of ${Math.round(face.h)} px, at least ${FACE_HEIGHT_MIN_PX} are needed`);
      }
      const file = `${createHash('sha256').update(bytes).digest('hex').slice(0, 16)}.jpg`;
      crops.set(file, await encodeJpeg(cropFrame(frame, expandRect(face, MARGIN)), JPEG_QUALITY));
    }
  } finally {
    await detector.dispose();
  }
  const folder = join(dir, name);
  mkdirSync(folder, { recursive: true });
  for (const [file, jpeg] of crops) await writeWhole(join(folder, file), jpeg);
  return { name, pictures: picturesIn(folder) };
}

/** By name; an empty list for a folder that is not there. */
export function listPeople(dir: string): Person[] {
  if (!existsSync(dir)) return [];
  return readdirSync(dir, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && !entry.name.startsWith('.'))
    .map(({ name }) => ({ name, pictures: picturesIn(join(dir, name)) }))
    .sort((one, other) => (one.name < other.name ? -1 : 1));
}

/** @throws GALLERY_INVALID naming who is enrolled */
export function removePerson(dir: string, name: string): Person {
  checkName(name);
  const people = listPeople(dir);
  const person = people.find((one) => one.name === name);
  if (person === undefined) {
    const known = people.map((one) => one.name).join(', ') || 'nobody';
    throw new OrchestratorError('GALLERY_INVALID', `${name} is not enrolled in ${dir}; there is ${known}`, { name });
  }
  rmSync(join(dir, name), { recursive: true });
  return person;
}

const picturesIn = (folder: string) =>
  readdirSync(folder).filter((file) => /^[^.].*\.(jpe?g|png|webp)$/i.test(file)).length;

/** The name becomes a folder's. */
function checkName(name: string): void {
  if (name.length > 0 && name.length <= 100 && !/[/\\\0]|^\./.test(name)) return;
  throw new OrchestratorError(
    'USAGE',
    `${JSON.stringify(name)} is no name: 1 to 100 letters, no slash, no dot in front`,
  );
}

function refuse(path: string, why: string, cause?: unknown): never {
  throw new OrchestratorError('GALLERY_INVALID', `${path} ${why}; nobody was enrolled`, { path }, { cause });
}
