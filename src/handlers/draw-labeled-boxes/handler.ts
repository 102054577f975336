import type { HandlerContext, ProcessingHandler } from '../../handler-kit/define.js';
import { drawHandler } from '../draw.js';

export async function create(_context: HandlerContext<object>): Promise<ProcessingHandler> {
  return drawHandler(true);
}
