/** What a variant of a service sees in a picture: its chain up to the last handler that tells boxes, in this process. */
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { OrchestratorError } from '../../contracts/errors.js';
import type { Box, Boxes, Payload } from '../../contracts/packet.js';
import type { GraphHandler, Variant } from '../../contracts/service.js';
import type { ProcessingHandler } from '../../handler-kit/define.js';
import { decodePicture } from '../../vision/images.js';
import { createHandler, feedersOf, isSource, manifestOf, packetOf, postedPicture } from './handlers.js';

export interface EyesOptions {
  readonly cacheDir: string;
  readonly threads: number;
  onProgress(message: string): void;
}

export interface Eyes {
  /** Boxes in pixels of the picture, with embeddings where a handler makes them. */
  look(path: string): Promise<readonly Box[]>;
  close(): Promise<void>;
}

interface Step {
  readonly of: GraphHandler;
  readonly handler: ProcessingHandler | null;
  readonly feeders: readonly { readonly handler: number; readonly output: number }[];
}

/** @throws USAGE when no handler of the variant tells boxes */
export async function openEyes(variant: Variant, options: EyesOptions): Promise<Eyes> {
  const wanted = chainToBoxes(variant);
  const steps: Step[] = [];
  const close = async () => {
    for (const { handler } of steps) await handler?.close();
  };
  try {
    for (const handler of wanted) {
      const feeders = feedersOf(variant, handler.handler_id);
      steps.push({ of: handler, handler: await processing(handler, options), feeders });
    }
  } catch (error) {
    await close();
    throw error;
  }
  let sequence = 0;
  return {
    async look(path) {
      const file = await readFile(path);
      const picture = await decodePicture(file);
      const made = new Map<number, readonly (Payload | null)[]>();
      for (const { of, handler, feeders } of steps) {
        const fed = feeders.map(({ handler: from, output }) => made.get(from)![output]!);
        const inputs = fed.length > 0 || handler === null ? fed : [await postedPicture(of, file)];
        const packets = inputs.map((payload) => packetOf(payload, sequence));
        made.set(of.handler_id, handler === null ? [picture] : (await handler.process(packets)).outputs);
      }
      sequence += 1;
      const boxes = made.get(steps.at(-1)!.of.handler_id)![0] as Boxes;
      return scaled(boxes, picture.width / boxes.frame_width, picture.height / boxes.frame_height);
    },
    close,
  };
}

async function processing(handler: GraphHandler, options: EyesOptions): Promise<ProcessingHandler | null> {
  if (isSource(handler)) return null;
  const { handler_type, handler_name, alternatives } = handler;
  const known = Object.keys((manifestOf(handler_type).params as { properties?: object } | null)?.properties ?? {});
  const embeddings = known.includes('embeddings') ? { embeddings: true } : {};
  const params = { ...alternatives[0]!.params, ...embeddings };
  const created = await createHandler({ handler_type, params, outputDir: tmpdir(), ...options });
  if (created.kind === 'processing') return created;
  throw new OrchestratorError('INTERNAL', `${handler_name} has inputs and yet is a source`);
}

/** The last handler in the order of the graph that emits boxes, and all that feeds it, in that order. */
function chainToBoxes(variant: Variant): GraphHandler[] {
  const inOrder = variant.order.map((id) => variant.handlers.find((one) => one.handler_id === id)!);
  const last = inOrder.findLast(({ handler_type }) =>
    manifestOf(handler_type).outputs.some(({ emits }) => emits === 'boxes'),
  );
  if (last === undefined) {
    throw new OrchestratorError('USAGE', `variant ${variant.variant_name} has no handler that tells boxes`);
  }
  const needed = new Set([last.handler_id]);
  for (const { handler_id } of inOrder.toReversed()) {
    if (needed.has(handler_id)) for (const { handler } of feedersOf(variant, handler_id)) needed.add(handler);
  }
  return inOrder.filter(({ handler_id }) => needed.has(handler_id));
}

function scaled({ boxes }: Boxes, sx: number, sy: number): Box[] {
  return boxes.map((box) => ({ ...box, x: box.x * sx, y: box.y * sy, w: box.w * sx, h: box.h * sy }));
}
