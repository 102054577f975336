/** What came in at a port, as the type that its manifest promises. */
import { OrchestratorError } from '../contracts/errors.js';
import type { Boxes, DataPacket, Frame, Payload, PayloadType } from '../contracts/packet.js';

/** The payload at input `index`; any other type is a fault of whoever built the graph, and drops the packet. */
export function inputAs<T extends PayloadType>(
  packets: readonly DataPacket[],
  index: number,
  ...types: readonly T[]
): Extract<Payload, { type: T }> {
  const payload = packets[index]?.payload;
  if (payload !== undefined && (types as readonly string[]).includes(payload.type)) {
    return payload as Extract<Payload, { type: T }>;
  }
  throw new OrchestratorError(
    'PAYLOAD_TYPE_UNSUPPORTED',
    `input ${index} got ${payload?.type ?? 'nothing'}, it accepts ${types.join(' or ')}`,
  );
}

/** Boxes of `frame` or of what `boxes` refers to, with other boxes in it. */
export function boxesOf(source: Frame | Boxes, boxes: Boxes['boxes']): Boxes {
  const size =
    source.type === 'frame'
      ? { frame_width: source.width, frame_height: source.height }
      : { frame_width: source.frame_width, frame_height: source.frame_height };
  return { type: 'boxes', ...size, boxes };
}
