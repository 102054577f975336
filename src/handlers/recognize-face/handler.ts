import type { HandlerContext, ProcessingHandler } from '../../handler-kit/define.js';
import { recognitionHandler } from '../recognition.js';
import type { RecognizeFaceParams } from './manifest.js';

export async function create(context: HandlerContext<RecognizeFaceParams>): Promise<ProcessingHandler> {
  return recognitionHandler(context, context.params.model);
}
