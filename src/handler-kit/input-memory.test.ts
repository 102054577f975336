import { expect, test, vi } from 'vitest';
import type { DataPacket, Payload } from '../contracts/packet.js';
import { InputMemory } from './input-memory.js';

function packet(payload: Payload): DataPacket {
  return { kind: 'data', sequence: 0, timestamp: 1, deadline: 0, payload, metadata: {} };
}

/** What becomes of the memory of `input` when a handler makes `outputs` of it. */
function releases(input: Payload, outputs: (Payload | null)[], overLink = true): number {
  const memory = new InputMemory();
  const release = vi.fn();
  const one = packet(input);
  memory.arrived(one, { bytes: 1, sentAt: 1, release: overLink ? release : undefined });
  memory.processed([one], outputs);
  return release.mock.calls.length;
}

const frame = (data: Buffer): Payload => ({ type: 'frame', width: data.length / 3, height: 1, data });
const boxesWith = (data: Buffer): Payload => {
  const box = { label: 'a', prob: 1, x: 0, y: 0, w: 1, h: 1, crop: { width: data.length / 3, height: 1, data } };
  return { type: 'boxes', frame_width: 9, frame_height: 9, boxes: [box] };
};

test('memory goes back when no output lies in it', () => {
  const data = Buffer.allocUnsafeSlow(30);
  expect(releases(frame(data), [{ type: 'jpeg', data: Buffer.allocUnsafeSlow(5) }])).toBe(1);
  expect(releases(frame(data), [null])).toBe(1);
  expect(releases(frame(data), [])).toBe(1);
  expect(releases(boxesWith(data), [boxesWith(Buffer.allocUnsafeSlow(3))])).toBe(1);
});

test('memory stays when an output is the input, a part of it, or a crop of it', () => {
  const data = Buffer.allocUnsafeSlow(30);
  expect(releases(frame(data), [frame(data)])).toBe(0);
  expect(releases(frame(data), [null, { type: 'bytes', data: data.subarray(3, 6) }])).toBe(0);
  expect(releases(frame(data), [boxesWith(data.subarray(0, 3))])).toBe(0);
  expect(releases(boxesWith(data), [boxesWith(data)])).toBe(0);
});

test('what came by reference is not given back', () => {
  expect(releases(frame(Buffer.allocUnsafeSlow(3)), [], false)).toBe(0);
});
