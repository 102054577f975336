/** What both draw handlers do: boxes on a copy of their frame, and the same boxes as records in the metadata. */
import type { Box, BoxAttributes, Boxes, BoxRecord, DataPacket, Frame } from '../contracts/packet.js';
import type { ProcessingHandler, ProcessResult } from '../handler-kit/define.js';
import { drawBoxes } from '../vision/images.js';
import { inputAs } from './ports.js';

/** Numbers of all embeddings in one packet's metadata; at 12 bytes each they fill three quarters of METADATA_BYTES_MAX. */
const EMBEDDING_NUMBERS_MAX = 65_536;

export function drawHandler(labels: boolean): ProcessingHandler {
  return {
    kind: 'processing',
    process: (packets) => draw(packets, labels),
    close() {},
  };
}

async function draw(packets: readonly DataPacket[], labels: boolean): Promise<ProcessResult> {
  const frame = inputAs(packets, 0, 'frame');
  const boxes = scaledTo(frame, inputAs(packets, 1, 'boxes'));
  return {
    outputs: [await drawBoxes(frame, boxes, { labels })],
    metadata: { ...packets[1]?.metadata, ...packets[0]?.metadata, boxes: recordsOf(boxes) },
  };
}

/** The frame may have been resized since the boxes were found, or before. */
function scaledTo(frame: Frame, { boxes, frame_width, frame_height }: Boxes): readonly Box[] {
  if (frame_width === frame.width && frame_height === frame.height) return boxes;
  const sx = frame.width / frame_width;
  const sy = frame.height / frame_height;
  return boxes.map((box) => ({ ...box, x: box.x * sx, y: box.y * sy, w: box.w * sx, h: box.h * sy }));
}

/** Exported for tests. */
export function recordsOf(boxes: readonly Box[]): BoxRecord[] {
  let numbersLeft = EMBEDDING_NUMBERS_MAX;
  return boxes.map(({ label, prob, x, y, w, h, note, attributes, embedding }) => {
    const record: BoxRecord = {
      label,
      prob: rounded(prob, 4),
      x: rounded(x, 1),
      y: rounded(y, 1),
      w: rounded(w, 1),
      h: rounded(h, 1),
    };
    if (note !== undefined) record.note = note;
    if (attributes !== undefined) record.attributes = roundedAttributes(attributes);
    if (embedding === undefined) return record;
    numbersLeft -= embedding.length;
    if (numbersLeft >= 0) record.embedding = Array.from(embedding, (value) => Number(value.toPrecision(7)));
    else record.note ??= `embedding left out: over ${EMBEDDING_NUMBERS_MAX} numbers in one packet`;
    return record;
  });
}

function roundedAttributes(attributes: BoxAttributes): Record<string, number | string> {
  const entries = Object.entries(attributes);
  return Object.fromEntries(
    entries.map(([name, value]) => [name, typeof value === 'string' ? value : rounded(value, 4)]),
  );
}

function rounded(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}
