import fc from 'fast-check';
import { expect, test } from 'vitest';
import { METADATA_BYTES_MAX, PAYLOAD_BYTES_MAX } from '../contracts/limits.js';
import type { Box, Payload } from '../contracts/packet.js';
import { encodeAck, encodePacket, encodePing, encodePong, type LinkFrame, PREFIX_BYTES } from './codec.js';
import { FrameDecoder } from './decoder.js';
import type { LinkPacket } from './link.js';

const anySequence = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER });
const anyTime = fc.double({ min: 0, max: 1e11, noNaN: true });
const anyBytes = (maxLength: number) => fc.uint8Array({ maxLength }).map((bytes) => Buffer.from(bytes));
const pixels = (width: number, height: number) => Buffer.alloc(width * height * 3, (width * 31 + height) & 0xff);
const anyNumber = fc.double({ noNaN: true, noDefaultInfinity: true, min: -1e6, max: 1e6 }).map((n) => n + 0);

const anyBox: fc.Arbitrary<Box> = fc
  .record(
    {
      label: fc.string({ unit: 'grapheme' }),
      prob: anyNumber,
      x: anyNumber,
      y: anyNumber,
      w: anyNumber,
      h: anyNumber,
      note: fc.string(),
      landmarks: fc.array(fc.tuple(anyNumber, anyNumber), { maxLength: 5 }),
      crop: fc
        .tuple(fc.integer({ min: 0, max: 9 }), fc.integer({ min: 0, max: 9 }))
        .map(([width, height]) => ({ width, height, data: pixels(width, height) })),
      embedding: fc.float32Array({ maxLength: 6 }),
    },
    { requiredKeys: ['label', 'prob', 'x', 'y', 'w', 'h'] },
  )
  .map((box) => box as Box);

const anyPayload: fc.Arbitrary<Payload> = fc.oneof(
  anyBytes(3000).map((data) => ({ type: 'jpeg', data }) as const),
  anyBytes(200).map((data) => ({ type: 'bytes', data }) as const),
  fc
    // Mostly small; some are larger than the scratch buffer, so that they are read in place.
    .oneof(
      { weight: 6, arbitrary: fc.tuple(fc.integer({ min: 0, max: 30 }), fc.integer({ min: 0, max: 30 })) },
      { weight: 1, arbitrary: fc.tuple(fc.integer({ min: 150, max: 200 }), fc.constant(160)) },
    )
    .map(([width, height]) => ({ type: 'frame', width, height, data: pixels(width, height) }) as const),
  fc
    .record({
      frame_width: fc.integer({ min: 0, max: 9999 }),
      frame_height: fc.integer({ min: 0, max: 9999 }),
      boxes: fc.array(anyBox, { maxLength: 5 }),
    })
    .map((boxes) => ({ type: 'boxes', ...boxes }) as const),
);

const header = { sequence: anySequence, timestamp: anyTime, deadline: anyTime };
const anyPacket: fc.Arbitrary<LinkPacket> = fc.oneof(
  fc.record({
    kind: fc.constant('data' as const),
    ...header,
    payload: anyPayload,
    metadata: fc.dictionary(
      fc.string().filter((key) => key !== '__proto__'),
      fc.oneof(fc.string(), fc.integer(), fc.boolean()),
    ),
  }),
  fc
    .record({
      kind: fc.constant('drop' as const),
      ...header,
      reason: fc.constantFrom('queue' as const, 'late', 'join', 'error', 'failover'),
      handler_id: anySequence,
      detail: fc.string({ minLength: 1, maxLength: 50 }),
      run: fc.integer({ min: 1, max: 1000 }),
    })
    .map(({ run, ...drop }) => (drop.sequence >= run ? { ...drop, first: drop.sequence - run } : drop)),
  fc.record({ kind: fc.constant('end' as const), ...header }),
  fc.record({ kind: fc.constant('skip' as const), ...header }),
);

function encodeAll(packets: readonly LinkPacket[]): Buffer {
  return Buffer.concat(packets.flatMap((packet, ordinal) => encodePacket(packet, 12.5, ordinal)));
}

function decodeInChunks(bytes: Buffer, sizes: readonly number[]): LinkFrame[] {
  const frames: LinkFrame[] = [];
  const decoder = new FrameDecoder((frame) => frames.push(frame));
  for (let offset = 0, turn = 0; offset < bytes.length; turn++) {
    const size = sizes.length === 0 ? bytes.length : Math.max(1, sizes[turn % sizes.length]!);
    // A chunk's memory is overwritten after the call, as a reused read buffer would be.
    const chunk = Buffer.from(bytes.subarray(offset, offset + size));
    decoder.push(chunk);
    chunk.fill(0xaa);
    offset += size;
  }
  return frames;
}

/** Reads as a socket with `onread` does. */
function decodeInPlace(bytes: Buffer, readMax: number): LinkFrame[] {
  const frames: LinkFrame[] = [];
  const decoder = new FrameDecoder((frame) => frames.push(frame));
  for (let offset = 0; offset < bytes.length; ) {
    const target = decoder.readTarget();
    const count = Math.min(target.length, readMax, bytes.length - offset);
    bytes.copy(target, 0, offset, offset + count);
    offset += count;
    decoder.filled(count, target);
  }
  return frames;
}

const packetsOf = (frames: readonly LinkFrame[]) =>
  frames.map((frame) => (frame.kind === 'packet' ? frame.packet : frame));

test('every packet survives the wire, however its bytes are cut', () => {
  fc.assert(
    fc.property(
      fc.array(anyPacket, { maxLength: 6 }),
      fc.array(fc.oneof(fc.integer({ min: 1, max: 100 }), fc.integer({ min: 1, max: 200_000 })), { maxLength: 5 }),
      (packets, sizes) => {
        const frames = decodeInChunks(encodeAll(packets), sizes);
        expect(packetsOf(frames)).toEqual(packets);
        const places = frames.map((frame) => frame.kind === 'packet' && [frame.sentAt, frame.ordinal]);
        expect(places).toEqual(packets.map((_, ordinal) => [12.5, ordinal]));
      },
    ),
    { numRuns: 150 },
  );
});

test('reading in place gives the same frames', () => {
  fc.assert(
    fc.property(fc.array(anyPacket, { maxLength: 4 }), fc.integer({ min: 1, max: 300_000 }), (packets, readMax) => {
      expect(packetsOf(decodeInPlace(encodeAll(packets), readMax))).toEqual(packets);
    }),
    { numRuns: 100 },
  );
});

test('the size on the wire is what the frame says', () => {
  fc.assert(
    fc.property(anyPacket, (packet) => {
      const bytes = encodeAll([packet]);
      expect(decodeInChunks(bytes, [])[0]).toMatchObject({ bytes: bytes.length });
    }),
  );
});

test('acknowledgements, pings and pongs pass', () => {
  const ack = { settled: -1, received: Number.MAX_SAFE_INTEGER };
  const pieces = [encodeAck(ack, 0), encodePing(1.25), encodePong(1.25), encodeAck({ settled: 3, received: 4 }, 9)];
  expect(decodeInChunks(Buffer.concat(pieces), [7])).toEqual([
    { kind: 'ack', ack, carried: 0 },
    { kind: 'ping', sentAt: 1.25 },
    { kind: 'pong', echoed: 1.25 },
    { kind: 'ack', ack: { settled: 3, received: 4 }, carried: 9 },
  ]);
});

test('random bytes and damaged frames are refused or understood, never anything else', () => {
  const refusedOrFine = (bytes: Buffer) => {
    try {
      decodeInChunks(bytes, [64, 3]);
    } catch (error) {
      expect(error).toMatchObject({ code: 'LINK_PROTOCOL' });
    }
  };
  fc.assert(fc.property(anyBytes(2000), refusedOrFine), { numRuns: 300 });
  fc.assert(
    fc.property(anyPacket, fc.nat(), fc.integer({ min: 0, max: 255 }), (packet, at, value) => {
      const bytes = encodeAll([packet]);
      bytes[at % bytes.length] = value;
      refusedOrFine(bytes);
    }),
    { numRuns: 500 },
  );
});

test('a truncated frame is no frame', () => {
  fc.assert(
    fc.property(anyPacket, fc.nat(), (packet, at) => {
      const bytes = encodeAll([packet]);
      expect(decodeInChunks(bytes.subarray(0, at % bytes.length), [50])).toEqual([]);
    }),
  );
});

test.each([
  ['metadata', 4, METADATA_BYTES_MAX + 1],
  ['payload', 8, PAYLOAD_BYTES_MAX + 1],
  ['payload', 8, 0xffff_ffff],
])('a hostile length of %s is refused from the prefix alone', (what, offset, length) => {
  const [prefix] = encodePacket(
    {
      kind: 'data',
      sequence: 1,
      timestamp: 1,
      deadline: 0,
      payload: { type: 'bytes', data: Buffer.alloc(0) },
      metadata: {},
    },
    1,
    0,
  );
  prefix!.writeUInt32LE(length, offset);
  expect(() => new FrameDecoder(() => {}).push(prefix!.subarray(0, PREFIX_BYTES))).toThrow(
    `${what} of ${length} bytes`,
  );
});

test.each([
  ['a frame whose size is wrong', { type: 'frame', width: 4, height: 4, data: Buffer.alloc(5) }],
  ['a crop whose size is wrong', boxesWith({ crop: { width: 2, height: 2, data: Buffer.alloc(11) } })],
  ['a coordinate that is not a number', boxesWith({ x: Number.NaN })],
  ['a landmark that is not a number', boxesWith({ landmarks: [[Number.POSITIVE_INFINITY, 1]] })],
] as const)('%s is refused by the sender, so that no receiver has to', (_, payload) => {
  const packet = { kind: 'data', sequence: 1, timestamp: 1, deadline: 0, payload, metadata: {} } as const;
  expect(() => encodePacket(packet as LinkPacket, 1, 0)).toThrow(expect.objectContaining({ code: 'LINK_PROTOCOL' }));
});

function boxesWith(extra: Partial<Box>) {
  const box = { label: 'a', prob: 1, x: 0, y: 0, w: 1, h: 1, ...extra };
  return { type: 'boxes', frame_width: 1, frame_height: 1, boxes: [box] } as const;
}
