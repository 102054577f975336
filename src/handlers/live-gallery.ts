/**
 * A gallery that follows its folder: who is enrolled or removed while a session runs is known, or forgotten, within a few
 * seconds. A change is seen by the names, sizes and times of the files; embeddings that are known are not made again. A
 * folder that cannot be read any more leaves the last gallery in place, with a warning; an empty one means that nobody is
 * known.
 */
import type { HandlerContext } from '../handler-kit/define.js';
import { createFaceDetector, type FaceDetector } from '../vision/face-detector.js';
import { buildGallery, type Gallery, gallerySignature } from '../vision/gallery.js';
import { createLandmarker, type Landmarker } from '../vision/landmarker.js';
import type { Recognizer } from '../vision/recognizer.js';
import { engineOptions } from './models.js';

/** Between two looks at the folder, ms. */
export const GALLERY_LOOK_MS = 2000;

interface GalleryParams {
  readonly classifier: string;
  readonly gpu: boolean | 'auto';
}

export interface LiveGallery {
  readonly current: Gallery;
  close(): Promise<void>;
}

/** @throws GALLERY_INVALID when there is nobody in it at the start, or a picture shows no face */
export async function openLiveGallery(
  context: HandlerContext<GalleryParams>,
  recognizer: Recognizer,
): Promise<LiveGallery> {
  const dir = context.allowedPath(context.params.classifier);
  let signature = await gallerySignature(dir);
  let current: Gallery;
  try {
    current = await readGallery(context, dir, recognizer);
  } catch (error) {
    await recognizer.dispose();
    throw error;
  }
  let looking: Promise<void> = Promise.resolve();
  const look = async (): Promise<void> => {
    const seen = await gallerySignature(dir);
    if (seen === signature) return;
    // Kept first: a picture that is refused is told once, not at every look.
    signature = seen;
    current = seen === '' ? { ...current, faces: [] } : await readGallery(context, dir, recognizer);
  };
  const timer = setInterval(() => {
    looking = looking.then(look).catch((error: unknown) => {
      const reason = error instanceof Error ? error.message : String(error);
      context.logger.warn({ classifier: dir }, `gallery left as it was: ${reason}`);
    });
  }, GALLERY_LOOK_MS);
  return {
    get current() {
      return current;
    },
    async close() {
      clearInterval(timer);
      await looking;
    },
  };
}

/** Detector and landmarks are loaded only when a picture of the gallery is new, and not kept. */
async function readGallery(
  context: HandlerContext<GalleryParams>,
  dir: string,
  recognizer: Recognizer,
): Promise<Gallery> {
  const options = engineOptions(context);
  const detector = lazy(() => createFaceDetector(options));
  const landmarker = lazy(() => createLandmarker(options));
  const dispose = async () => {
    await detector.loaded()?.then((one) => one.dispose());
    await landmarker.loaded()?.then((one) => one.dispose());
  };
  try {
    const gallery = await buildGallery({
      dir,
      recognizer,
      detector: {
        model: 'ssd_mobilenetv1',
        detect: async (frame) => (await detector.get()).detect(frame),
        dispose,
      } satisfies FaceDetector,
      landmarker: {
        model: 'face_landmark_68',
        locate: async (boxes, frame) => (await landmarker.get()).locate(boxes, frame),
        dispose,
      } satisfies Landmarker,
      cacheDir: context.cacheDir,
      onProgress: (message) => context.progress(message),
    });
    const people = new Set(gallery.faces.map((face) => face.label)).size;
    context.logger.info({ people, pictures: gallery.faces.length }, 'gallery read');
    return gallery;
  } finally {
    await dispose();
  }
}

function lazy<T>(make: () => Promise<T>): { get(): Promise<T>; loaded(): Promise<T> | undefined } {
  let made: Promise<T> | undefined;
  return {
    get() {
      made ??= make();
      return made;
    },
    loaded: () => made,
  };
}
