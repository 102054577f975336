import fc from 'fast-check';
import { expect, test } from 'vitest';
import { LENT_BYTES_MIN, type LentMemory, PayloadBuffers } from './payload-buffers.js';

test('no byte belongs to two packets at once, whatever is given back and when', () => {
  const step = fc.record({
    bytes: fc.oneof(fc.integer({ min: 1, max: 2000 }), fc.integer({ min: LENT_BYTES_MIN, max: 60_000 })),
    back: fc.nat(9),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const buffers = new PayloadBuffers();
      const held: { bytes: Buffer; mark: number; lent: LentMemory | null }[] = [];
      for (const [index, { bytes, back }] of steps.entries()) {
        const lent = bytes < LENT_BYTES_MIN ? null : buffers.lend(bytes);
        const memory = lent?.bytes ?? buffers.cut(bytes);
        expect(memory).toHaveLength(bytes);
        held.push({ bytes: memory.fill(index & 0xff), mark: index & 0xff, lent });
        const returned = held.splice(back, 1)[0];
        returned?.lent?.release();
        returned?.lent?.release();
      }
      for (const { bytes, mark } of held) expect(bytes.every((byte) => byte === mark)).toBe(true);
    }),
    { numRuns: 60 },
  );
});

test('memory that is given back serves the next packet of about that size, up to a bound', () => {
  const buffers = new PayloadBuffers();
  const first = buffers.lend(900_000);
  const { buffer } = first.bytes;
  first.release();
  expect(buffers.lend(910_000).bytes.buffer).toBe(buffer);
  const many = Array.from({ length: 40 }, () => buffers.lend(1 << 20));
  const memory = new Set(many.map(({ bytes }) => bytes.buffer));
  for (const one of many) one.release();
  const again = many.map(() => buffers.lend(1 << 20).bytes.buffer);
  expect(again.filter((one) => memory.has(one))).toHaveLength(8);
});
