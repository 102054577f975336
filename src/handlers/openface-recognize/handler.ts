import type { HandlerContext, ProcessingHandler } from '../../handler-kit/define.js';
import { modelOrStandIn } from '../models.js';
import { recognitionHandler } from '../recognition.js';
import type { OpenfaceRecognizeParams } from './manifest.js';

export async function create(context: HandlerContext<OpenfaceRecognizeParams>): Promise<ProcessingHandler> {
  const model = await modelOrStandIn(context, { standIn: 'face_recognition' });
  return recognitionHandler(context, model, (own) => own * 2 * context.params.thresh);
}
