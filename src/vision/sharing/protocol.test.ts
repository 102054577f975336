import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { OutputTensor } from '../engine.js';
import {
  decodeOutputs,
  encodeHeader,
  encodeOutputs,
  type FrameHeader,
  FrameReader,
  RUN_BYTES_MAX,
} from './protocol.js';

const uint32 = fc.integer({ min: 0, max: 0xffff_ffff });
const kind = fc.constantFrom('hello' as const, 'welcome', 'run', 'result', 'late', 'failed');
const frame = fc.record({
  header: fc.record({ kind, id: uint32, a: uint32, b: uint32, c: uint32, d: fc.double({ noNaN: true }) }),
  payload: fc.uint8Array({ maxLength: 100 }),
});

test('frames survive any cutting of the stream, each payload in memory of its own', () => {
  fc.assert(
    fc.property(fc.array(frame, { maxLength: 8 }), fc.array(fc.integer({ min: 1, max: 70 })), (frames, cuts) => {
      const stream = Buffer.concat(
        frames.flatMap(({ header, payload }) => [encodeHeader({ ...header, payloadBytes: payload.length }), payload]),
      );
      const seen: { header: Omit<FrameHeader, 'payloadBytes'>; payload: Uint8Array }[] = [];
      const reader = new FrameReader(({ payloadBytes, ...header }, payload) => {
        expect(payload).toHaveLength(payloadBytes);
        expect(payload.byteOffset).toBe(0);
        seen.push({ header, payload: new Uint8Array(payload) });
      });
      let at = 0;
      for (let turn = 0; at < stream.length; turn++) {
        const end = at + (cuts[turn % (cuts.length || 1)] ?? stream.length);
        reader.push(stream.subarray(at, end));
        at = end;
      }
      expect(seen).toEqual(frames);
    }),
  );
});

test('outputs come back as they were, or are refused, whatever the bytes', () => {
  const dims = fc.array(fc.integer({ min: 0, max: 5 }), { maxLength: 4 });
  const output = fc.tuple(fc.string({ maxLength: 20, unit: 'grapheme-ascii' }), dims, fc.float({ noNaN: true }));
  fc.assert(
    fc.property(fc.uniqueArray(output, { maxLength: 4, selector: ([name]) => name }), (list) => {
      const outputs: Record<string, OutputTensor> = Object.create(null);
      for (const [name, shape, value] of list) {
        const length = shape.reduce((product, dim) => product * dim, 1);
        outputs[name] = { dims: shape, data: new Float32Array(length).fill(value) };
      }
      const payload = Buffer.from(new Uint8Array(Buffer.concat(encodeOutputs(outputs))).buffer);
      const count = Object.keys(outputs).length;
      expect(Object.entries(decodeOutputs(payload, count))).toEqual(Object.entries(outputs));
    }),
  );
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), fc.integer({ min: 0, max: 4 }), (bytes, count) => {
      try {
        decodeOutputs(Buffer.from(bytes.buffer), count);
      } catch (error) {
        expect(error).toMatchObject({ code: 'LINK_PROTOCOL' });
      }
    }),
  );
});

test('foreign bytes and payloads over their bound are refused before memory is taken', () => {
  const reader = new FrameReader(() => {});
  expect(() => reader.push(Buffer.from('GET / HTTP/1.1\r\nhost: localhost\r\n\r\n'))).toThrow(/begins no frame/);
  const large = encodeHeader({ kind: 'run', id: 1, payloadBytes: RUN_BYTES_MAX + 1, a: 1, b: 1, c: 1, d: 0 });
  expect(() => new FrameReader(() => {}).push(large)).toThrow(`at most ${RUN_BYTES_MAX}`);
});
