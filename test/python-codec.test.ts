/** The frames of the Python example and ours are one: each reads what the other writes, and both refuse the same. */
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { DataPacket, Payload } from '../src/contracts/packet.js';
import { FrameDecoder } from '../src/links/decoder.js';
import { written } from '../src/links/frame-writer.testing.js';
import type { LinkPacket } from '../src/links/link.js';
import { PREFIX_BYTES, readPrefix } from '../src/links/prefix.js';

const EXAMPLE = fileURLToPath(new URL('../examples/python-handler/', import.meta.url));
const SEED = 11;

/** Runs Python with the example's module as `link`, stdin as `data`; gives what it writes to `out`. */
function python(code: string, input: Buffer): Buffer {
  const program = `import sys\nimport orchestrator_link as link\ndata, out = sys.stdin.buffer.read(), sys.stdout.buffer\n${code}`;
  return execFileSync('python3', ['-c', program], { cwd: EXAMPLE, input, maxBuffer: 1 << 28 });
}

const size = fc.integer({ min: 1, max: 9 });
const bytes = (length: number) =>
  fc.uint8Array({ minLength: length, maxLength: length }).map((data) => Buffer.from(data));
/** Without -0, which JSON does not tell from 0. */
const number = fc.double({ min: -1e6, max: 1e6, noNaN: true }).map((value) => value + 0);
const anyPicture = fc
  .tuple(size, size)
  .chain(([width, height]) => bytes(width * height * 3).map((data) => ({ width, height, data })));
const anyBox = fc.record(
  {
    ...{ label: fc.string({ unit: 'grapheme' }), prob: number, x: number, y: number, w: number, h: number },
    note: fc.string(),
    attributes: fc.dictionary(
      fc.stringMatching(/^[a-z][a-z0-9_]{0,31}$/),
      fc.oneof(number, fc.string({ maxLength: 64 })),
      {
        maxKeys: 4,
      },
    ),
    landmarks: fc.array(fc.tuple(number, number), { maxLength: 5 }),
    crop: anyPicture,
    embedding: fc
      .array(fc.float({ noNaN: true, noDefaultInfinity: true }), { maxLength: 8 })
      .map((list) => Float32Array.from(list)),
  },
  { requiredKeys: ['label', 'prob', 'x', 'y', 'w', 'h'] },
);
const anyPayload: fc.Arbitrary<Payload> = fc.oneof(
  anyPicture.map((picture) => ({ type: 'frame', ...picture }) as const),
  fc.uint8Array({ maxLength: 300 }).map((data) => ({ type: 'jpeg', data: Buffer.from(data) }) as const),
  fc.uint8Array({ maxLength: 300 }).map((data) => ({ type: 'bytes', data: Buffer.from(data) }) as const),
  fc.record({ frame_width: size, frame_height: size, boxes: fc.array(anyBox, { maxLength: 4 }) }).map((boxes) => {
    return { type: 'boxes', ...boxes } as const;
  }),
);
const sequence = fc.maxSafeNat();
const times = { timestamp: number, deadline: number };
const anyPacket: fc.Arbitrary<LinkPacket> = fc.oneof(
  fc.record({ kind: fc.constant('data' as const), sequence, ...times, payload: anyPayload, metadata: fc.constant({}) }),
  fc.record({ kind: fc.constant('skip' as const), sequence, ...times }),
  fc.record({
    ...{ kind: fc.constant('drop' as const), sequence, ...times, handler_id: fc.nat() },
    reason: fc.constantFrom('queue', 'late', 'join', 'error', 'failover'),
    detail: fc.string({ unit: 'grapheme', minLength: 1, maxLength: 60 }),
  }),
);

function decode(data: Buffer): LinkPacket[] {
  const packets: LinkPacket[] = [];
  new FrameDecoder((frame) => frame.kind === 'packet' && packets.push(frame.packet)).push(data);
  return packets;
}

const ECHO = `
while data:
    prefix = link.unpack_prefix(data[:80])
    metadata = data[80:80 + prefix.metadata_bytes]
    payload = data[80 + prefix.metadata_bytes:80 + prefix.metadata_bytes + prefix.payload_bytes]
    data = data[80 + prefix.metadata_bytes + prefix.payload_bytes:]
    packet = link.unpack_packet(prefix, metadata, payload)
    if packet.kind == "data":
        out.write(link.pack_data(packet, packet.payload))
    elif packet.kind == "drop":
        out.write(link.pack_drop(packet, packet.reason, packet.detail))
    else:
        out.write(link.pack_skip(packet))
`;

test('what we write Python reads, and what it writes back we read', () => {
  const packets = fc.sample(anyPacket, { numRuns: 400, seed: SEED });
  const sent = written((writer) => {
    packets.forEach((packet, ordinal) => void writer.packet(packet, 1.5, ordinal));
  });
  const back = decode(python(ECHO, sent));
  // An answer's handler_id is the handler's to fill in.
  const expected = packets.map((packet) => (packet.kind === 'drop' ? { ...packet, handler_id: 0 } : packet));
  expect(back).toEqual(expected);
});

const VERDICTS = `
for at in range(0, len(data), 80):
    try:
        link.unpack_prefix(data[at:at + 80])
        out.write(b"1")
    except link.ProtocolError:
        out.write(b"0")
`;

/** Prefixes that are right but for a field or two. */
function damaged(prefix: Buffer, changes: readonly { offset: number; value: number }[]): Buffer {
  const copy = Buffer.from(prefix);
  for (const { offset, value } of changes) {
    if (offset < 4) copy[offset] = value & 0xff;
    else if (offset < 24) copy.writeUInt32LE(value >>> 0, offset);
    else copy.writeDoubleLE(value, offset);
  }
  return copy;
}

test('both refuse the same prefixes', () => {
  const data: DataPacket = {
    ...{ kind: 'data', sequence: 5, timestamp: 1, deadline: 0, metadata: {} },
    payload: { type: 'frame', width: 1, height: 1, data: Buffer.alloc(3) },
  };
  const drop = { ...data, kind: 'drop', reason: 'late', handler_id: 3 } as const;
  const prefixes = [
    ...[data, drop, { ...data, kind: 'skip' } as const].map((packet) =>
      written((writer) => writer.packet(packet, 1, 0)),
    ),
    written((writer) => writer.ack({ settled: -1, received: 4 }, 2)),
    written((writer) => writer.ping(1)),
  ].map((frame) => frame.subarray(0, PREFIX_BYTES));
  const anyChange = fc.record({
    offset: fc.constantFrom(0, 2, 3, 4, 8, 12, 16, 20, 24, 32, 40, 48, 56, 64, 72),
    value: fc.oneof(
      fc.constantFrom(0, 1, 2, 3, 4, 5, 6, 7, 8, -1, -2, 0.5, 2 ** 27, 2 ** 27 + 1, 2 ** 32 - 1, 2 ** 53, 2 ** 53 - 1),
      fc.constantFrom(Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY),
    ),
  });
  const anyDamage = fc.tuple(fc.constantFrom(...prefixes), fc.array(anyChange, { maxLength: 2 }));
  const tried = fc
    .sample(anyDamage, { numRuns: 4000, seed: SEED })
    .map(([prefix, changes]) => damaged(prefix, changes));
  const ours = tried.map((prefix) => {
    try {
      readPrefix(new DataView(prefix.buffer, prefix.byteOffset), 0);
      return '1';
    } catch {
      return '0';
    }
  });
  const theirs = [...python(VERDICTS, Buffer.concat(tried)).toString('latin1')];
  const differing = tried.filter((_, index) => ours[index] !== theirs[index]).map((prefix) => prefix.toString('hex'));
  expect(differing).toEqual([]);
  expect(new Set(ours).size).toBe(2);
});
