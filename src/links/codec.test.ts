import fc from 'fast-check';
import { expect, test } from 'vitest';
import { METADATA_BYTES_MAX, PAYLOAD_BYTES_MAX } from '../contracts/limits.js';
import type { Box, PacketMetadata, Payload } from '../contracts/packet.js';
import type { LinkFrame } from './codec.js';
import { FrameDecoder } from './decoder.js';
import { FrameWriter } from './frame-writer.js';
import { written } from './frame-writer.testing.js';
import { type LinkPacket, READ_SCRATCH_BYTES } from './link.js';

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
      attributes: fc.dictionary(
        fc.stringMatching(/^[a-z][a-z0-9_]{0,31}$/),
        fc.oneof(anyNumber, fc.string({ maxLength: 64 })),
        { maxKeys: 4 },
      ),
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

const encodeAll = (packets: readonly LinkPacket[], step = 1): Buffer =>
  written((writer) => {
    for (const [index, packet] of packets.entries()) writer.packet(packet, 12.5, index * step);
  });

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
  readInto(decoder, bytes, readMax);
  return frames;
}

/** Returns how many reads it took. */
function readInto(decoder: FrameDecoder, bytes: Buffer, readMax = Number.POSITIVE_INFINITY): number {
  let reads = 0;
  for (let offset = 0; offset < bytes.length; reads++) {
    const target = decoder.readTarget();
    const count = Math.min(target.length, readMax, bytes.length - offset);
    bytes.copy(target, 0, offset, offset + count);
    offset += count;
    decoder.filled(count, target);
  }
  return reads;
}

function dataPacket(sequence: number, payload: Payload, metadata: PacketMetadata = {}): LinkPacket {
  return { kind: 'data', sequence, timestamp: 1, deadline: 0, payload, metadata };
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
      const writer = new FrameWriter();
      const said = writer.packet(packet, 1, 0);
      expect(writer.bytes).toBe(said);
      const bytes = Buffer.concat(writer.take().pieces);
      expect(bytes).toHaveLength(said);
      expect(writer.bytes).toBe(0);
      expect(decodeInChunks(bytes, [])[0]).toMatchObject({ bytes: said });
    }),
  );
});

const smallPacket: fc.Arbitrary<LinkPacket> = fc
  .record({ sequence: anySequence, data: fc.nat(5000).map((bytes) => Buffer.alloc(bytes, bytes & 0xff)) })
  .map(({ sequence, data }) => dataPacket(sequence, { type: 'bytes', data }));

test('memory that is written again holds only what has left', () => {
  fc.assert(
    fc.property(fc.array(fc.array(smallPacket, { maxLength: 300 }), { maxLength: 5 }), (turns) => {
      const writer = new FrameWriter();
      const sent: Buffer[] = [];
      for (const packets of turns) {
        for (const packet of packets) writer.packet(packet, 12.5, 0);
        const { pieces, slabs } = writer.take();
        sent.push(Buffer.concat(pieces));
        for (const { bytes } of slabs) bytes.fill(0xaa);
        writer.recycle(slabs);
      }
      expect(Buffer.concat(sent).equals(encodeAll(turns.flat(), 0))).toBe(true);
    }),
    { numRuns: 40 },
  );
});

test('a packet that is refused leaves nothing behind in what is written', () => {
  const writer = new FrameWriter();
  const bad = { kind: 'data', sequence: 1, timestamp: 1, deadline: 0, metadata: {} } as const;
  const payload = { type: 'frame', width: 2, height: 2, data: Buffer.alloc(7) } as const;
  expect(() => writer.packet({ ...bad, payload }, 1, 0)).toThrow('a frame of 2x2 has 7 bytes');
  expect(writer.bytes).toBe(0);
  expect(writer.take().pieces).toEqual([]);
});

/** Small, large, with metadata, and none at all: what a short exchange may hold. */
const exchange: readonly LinkPacket[] = [
  dataPacket(0, { type: 'bytes', data: Buffer.from('abc') }),
  dataPacket(1, { type: 'jpeg', data: Buffer.alloc(9000, 5) }, { input: 'a.jpg' }),
  { kind: 'skip', sequence: 3, first: 2, timestamp: 1, deadline: 0 },
  dataPacket(4, { type: 'bytes', data: Buffer.alloc(0) }),
  { kind: 'drop', sequence: 5, timestamp: 1, deadline: 0, reason: 'late', handler_id: 3, detail: 'why' },
  { kind: 'end', sequence: 6, timestamp: 1, deadline: 0 },
];

test('a short exchange survives a cut at every byte, read either way', () => {
  const bytes = encodeAll(exchange);
  for (let cut = 0; cut <= bytes.length; cut++) {
    const [pushed, inPlace]: LinkFrame[][] = [[], []];
    const pushing = new FrameDecoder((frame) => pushed!.push(frame));
    for (const chunk of [bytes.subarray(0, cut), bytes.subarray(cut)]) pushing.push(chunk);
    const reading = new FrameDecoder((frame) => inPlace!.push(frame));
    for (const chunk of [bytes.subarray(0, cut), bytes.subarray(cut)]) readInto(reading, chunk);
    // Compared as bytes: ten thousand cuts of deep comparisons would take minutes.
    for (const frames of [pushed!, inPlace!]) {
      if (!encodeAll(packetsOf(frames) as LinkPacket[]).equals(bytes)) expect(cut).toBe('a cut that changes nothing');
    }
  }
  expect(packetsOf(decodeInChunks(bytes, [1]))).toEqual(exchange);
  expect(packetsOf(decodeInPlace(bytes, 1))).toEqual(exchange);
});

test('a stream of large packets is read in place, one read for each', () => {
  const data = Buffer.alloc(3 * READ_SCRATCH_BYTES, 9);
  const packets = Array.from({ length: 8 }, (_, sequence) =>
    dataPacket(sequence, { type: 'jpeg', data }, { input: 'x' }),
  );
  const bytes = encodeAll(packets);
  const frames: LinkFrame[] = [];
  const decoder = new FrameDecoder((frame) => frames.push(frame));
  expect(readInto(decoder, bytes)).toBeLessThanOrEqual(packets.length + 2);
  expect(encodeAll(packetsOf(frames) as LinkPacket[]).equals(bytes)).toBe(true);
});

test('acknowledgements, pings and pongs pass', () => {
  const ack = { settled: -1, received: Number.MAX_SAFE_INTEGER };
  const bytes = written((writer) => {
    writer.ack(ack, 0);
    writer.ping(1.25);
    writer.pong(1.25);
    writer.ack({ settled: 3, received: 4 }, 9);
  });
  expect(decodeInChunks(bytes, [7])).toEqual([
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
  const prefix = encodeAll([dataPacket(1, { type: 'bytes', data: Buffer.alloc(0) })]);
  prefix.writeUInt32LE(length, offset);
  expect(() => new FrameDecoder(() => {}).push(prefix)).toThrow(`${what} of ${length} bytes`);
});

test.each([
  ['sequence', 24],
  ['first sequence', 64],
  ['ordinal', 72],
])('a %s that is no count below 2^53 is refused from the prefix alone', (what, offset) => {
  const hostile = fc.oneof(
    fc.constantFrom(2 ** 53, 2 ** 60, Number.MAX_VALUE, -1, 0.5, Number.NaN, Number.POSITIVE_INFINITY),
    fc.double({ min: 2 ** 53 }),
    fc.double({ max: -Number.MIN_VALUE }),
  );
  fc.assert(
    fc.property(hostile, (value) => {
      const prefix = encodeAll([{ kind: 'skip', sequence: 5, timestamp: 1, deadline: 0 }]);
      prefix.writeDoubleLE(value, offset);
      expect(() => new FrameDecoder(() => {}).push(prefix)).toThrow(`${what} ${value} is not an integer`);
    }),
  );
});

test('sizes inside boxes that reach beyond the packet are refused, however large they are', () => {
  const size = fc.oneof(fc.nat(20), fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }));
  fc.assert(
    fc.property(size, size, size, fc.boolean(), (width, height, at, embedding) => {
      const wire = embedding ? { embedding: [width, at] } : { crop: [width, height, at] };
      const json = Buffer.from(JSON.stringify([{ label: 'a', prob: 1, x: 0, y: 0, w: 1, h: 1, ...wire }]));
      const bytes = written((writer) => writer.packet(dataPacket(1, { type: 'bytes', data: json }), 1, 0));
      bytes[3] = 2;
      bytes.writeUInt32LE(json.length, 20);
      const decode = () => decodeInChunks(bytes, []);
      if (at + (embedding ? width * 4 : width * height * 3) > 0) {
        expect(decode).toThrow(expect.objectContaining({ code: 'LINK_PROTOCOL' }));
      } else expect(decode()).toHaveLength(1);
    }),
  );
});

test.each([
  ['a frame whose size is wrong', { type: 'frame', width: 4, height: 4, data: Buffer.alloc(5) }],
  ['a crop whose size is wrong', boxesWith({ crop: { width: 2, height: 2, data: Buffer.alloc(11) } })],
  ['a coordinate that is not a number', boxesWith({ x: Number.NaN })],
  ['an attribute that is no number', boxesWith({ attributes: { age: Number.NaN } })],
  ['an attribute with a name of its own', boxesWith({ attributes: { 'Age in years': 1 } })],
  ['an attribute that is long', boxesWith({ attributes: { gender: 'x'.repeat(65) } })],
  ['a landmark that is not a number', boxesWith({ landmarks: [[Number.POSITIVE_INFINITY, 1]] })],
] as const)('%s is refused by the sender, so that no receiver has to', (_, payload) => {
  const packet = { kind: 'data', sequence: 1, timestamp: 1, deadline: 0, payload, metadata: {} } as const;
  expect(() => encodeAll([packet as LinkPacket])).toThrow(expect.objectContaining({ code: 'LINK_PROTOCOL' }));
});

function boxesWith(extra: Partial<Box>) {
  const box = { label: 'a', prob: 1, x: 0, y: 0, w: 1, h: 1, ...extra };
  return { type: 'boxes', frame_width: 1, frame_height: 1, boxes: [box] } as const;
}
