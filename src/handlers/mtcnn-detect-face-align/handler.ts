import type { HandlerContext, ProcessingHandler } from '../../handler-kit/define.js';
import { alignFace, chipFor } from '../../vision/align.js';
import { createFaceDetector } from '../../vision/face-detector.js';
import { createLandmarker } from '../../vision/landmarker.js';
import { detectionHandler, SAME_FACE_IOU } from '../detection.js';
import { asAsked, engineOptions, modelOrStandIn } from '../models.js';
import { boxesOf, inputAs } from '../ports.js';
import type { MtcnnDetectFaceAlignParams } from './manifest.js';

export async function create(context: HandlerContext<MtcnnDetectFaceAlignParams>): Promise<ProcessingHandler> {
  const { params } = context;
  const chip = chipFor('dlib', params.dim);
  const options = engineOptions(context);
  const model = await modelOrStandIn(context, { standIn: 'ssd_mobilenetv1', own: 'mtcnn' });
  const detector = await createFaceDetector({ ...options, model });
  const landmarker = await createLandmarker(options).catch(async (error: unknown) => {
    await detector.dispose();
    throw error;
  });
  const detection = detectionHandler({
    detector,
    params: { multiple: params.multiple, with_crop: true },
    heightMinPx: 0,
    iouMax: SAME_FACE_IOU,
  });
  return {
    kind: 'processing',
    async process(packets) {
      const { outputs } = await detection.process(packets);
      const found = inputAs([{ ...packets[0]!, payload: outputs[0]! }], 0, 'boxes');
      const located = await landmarker.locate(found.boxes);
      // Detections always carry their crop here, so each has a chip.
      const aligned = located.map((box) => ({ ...box, crop: alignFace(box, { chip })! }));
      return { outputs: [boxesOf(found, asAsked(aligned, params))] };
    },
    async close() {
      await detection.close();
      await landmarker.dispose();
    },
  };
}
