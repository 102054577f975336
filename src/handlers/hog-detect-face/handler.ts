import { OrchestratorError } from '../../contracts/errors.js';
import type { ProcessingHandler } from '../../handler-kit/define.js';

/** Refused by name: a session that asks for HOG must not silently get another detector. */
export async function create(): Promise<ProcessingHandler> {
  throw new OrchestratorError(
    'HANDLER_FAILED',
    "hog_detect_face needs dlib's HOG detector, which is in no npm package; use detect_face with model blazeface " +
      '(faster, finds more), or a program of your own on dlib (Debian: libdlib-dev) behind external_boxes',
  );
}
