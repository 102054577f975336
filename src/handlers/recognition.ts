/** What both recognisers do with aligned faces: a feature vector each, and the name of the nearest face of a gallery. */
import { OrchestratorError } from '../contracts/errors.js';
import type { Box, Crop } from '../contracts/packet.js';
import type { HandlerContext, ProcessingHandler } from '../handler-kit/define.js';
import { type Gallery, matchGallery, UNKNOWN_LABEL } from '../vision/gallery.js';
import { createRecognizer, FACE_HEIGHT_MIN_PX, TOO_SMALL_NOTE } from '../vision/recognizer.js';
import { openLiveGallery } from './live-gallery.js';
import { asAsked, engineOptions } from './models.js';
import { boxesOf, inputAs } from './ports.js';

export interface RecognitionParams {
  readonly gpu: boolean | 'auto';
  readonly classifier: string;
  readonly thresh: number | null;
  readonly embeddings: boolean;
  readonly multiple: boolean;
  readonly with_crop: boolean;
}

export interface AlignedFace {
  readonly box: Box;
  readonly chip: Crop;
}

export interface Recognition {
  /** The boxes with label, and with embedding and chip where they are asked for; in the same order. */
  recognize(faces: readonly AlignedFace[]): Promise<Box[]>;
  close(): Promise<void>;
}

/** @param threshOf the largest distance that still names a face, of the model's own one */
export async function createRecognition(
  context: HandlerContext<RecognitionParams>,
  model: string,
  threshOf = (own: number) => context.params.thresh || own,
): Promise<Recognition> {
  const { params } = context;
  const recognizer = await createRecognizer({ ...engineOptions(context), model });
  const gallery = params.classifier === '' ? null : await openLiveGallery(context, recognizer);
  const thresh = threshOf(recognizer.thresh);
  return {
    async recognize(faces) {
      const large = faces.filter(({ box }) => box.h >= FACE_HEIGHT_MIN_PX);
      const embeddings = await recognizer.embed(large.map(({ chip }) => chip));
      const boxes = faces.map((face) => {
        const box = { ...face.box, crop: face.chip };
        const embedding = embeddings[large.indexOf(face)];
        const label = labelOf(box, embedding, gallery?.current ?? null, thresh);
        if (embedding === undefined) return { ...box, label, note: TOO_SMALL_NOTE };
        return params.embeddings ? { ...box, label, embedding } : { ...box, label };
      });
      return asAsked(boxes, params);
    },
    async close() {
      await gallery?.close();
      await recognizer.dispose();
    },
  };
}

function labelOf(box: Box, embedding: Float32Array | undefined, gallery: Gallery | null, thresh: number): string {
  if (gallery === null) return box.label;
  return embedding === undefined ? UNKNOWN_LABEL : matchGallery(gallery, embedding, thresh).label;
}

/** What names faces that a handler before has aligned. */
export async function recognitionHandler(...args: Parameters<typeof createRecognition>): Promise<ProcessingHandler> {
  const [{ params }] = args;
  const recognition = await createRecognition(...args);
  return {
    kind: 'processing',
    async process(packets) {
      const input = inputAs(packets, 0, 'boxes');
      const boxes = asAsked(input.boxes, { multiple: params.multiple, with_crop: true });
      return { outputs: [boxesOf(input, await recognition.recognize(boxes.map(alignedFace)))] };
    },
    close: () => recognition.close(),
  };
}

/** Landmarks say that the crop is aligned. Without alignment the nets confuse people, so that is an error and no guess. */
function alignedFace(box: Box): AlignedFace {
  if (box.crop !== undefined && box.landmarks !== undefined) return { box, chip: box.crop };
  const why =
    box.landmarks === undefined
      ? 'is not aligned; put align before this handler'
      : 'has no crop; set with_crop on align';
  throw new OrchestratorError('HANDLER_FAILED', `box ${box.label} ${why}`);
}
