/** docs/links.md says what the code does: offsets, numbers, bounds, headers, and an example that is what is sent. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { OrchestratorError } from '../src/contracts/errors.js';
import {
  LATEST_QUEUE_PACKETS,
  LATEST_WINDOW_PACKETS,
  LINK_WINDOW_BYTES,
  LINK_WINDOW_PACKETS,
  LINK_WINDOW_SMALL_BYTES,
  LINK_WINDOW_SMALL_PACKETS,
  METADATA_BYTES_MAX,
  PAYLOAD_BYTES_MAX,
  POST_PACKET_BYTES_MAX,
} from '../src/contracts/limits.js';
import { type DropReason, PAYLOAD_TYPES } from '../src/contracts/packet.js';
import { upgradeTargetOf } from '../src/handler-kit/host-protocol.js';
import { TAPS_MAX } from '../src/handler-kit/outputs.js';
import { WORKERS_MAX } from '../src/handler-kit/worker-pool.js';
import { FrameDecoder } from '../src/links/decoder.js';
import { written } from '../src/links/frame-writer.testing.js';
import { helloHeaders, LINK_PROTOCOL_NAME, requestText, switchingText } from '../src/links/handshake.js';
import {
  HANDSHAKE_BYTES_MAX,
  LINK_DEAD_MS,
  LINK_HANDSHAKE_MS,
  LINK_PING_MS,
  type LinkPacket,
  RECONNECT_BASE_MS,
  RECONNECT_MAX_MS,
} from '../src/links/link.js';
import { DROP_DETAIL_CHARS_MAX, PREFIX_BYTES } from '../src/links/prefix.js';
import { LINK_STRIPES_MAX } from '../src/links/stripe-policy.js';

const PAGE = readFileSync(new URL('../docs/links.md', import.meta.url), 'utf8');

/** Rows of the table whose first header cells are `heads`. */
function table(...heads: string[]): string[][] {
  const start = PAGE.indexOf(`| ${heads.join(' | ')} |`);
  expect(start, `table ${heads.join(', ')}`).toBeGreaterThanOrEqual(0);
  const [, , ...lines] = PAGE.slice(start)
    .split(/\n(?!\|)/, 1)[0]!
    .split('\n');
  return lines.map((line) =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
}

const packet = (one: LinkPacket, sentAt = 1, ordinal = 0) => written((writer) => writer.packet(one, sentAt, ordinal));
const ack = (settled: number, received: number, carried: number) =>
  written((writer) => writer.ack({ settled, received }, carried));
const ping = (at: number) => written((writer) => writer.ping(at));
const pong = (at: number) => written((writer) => writer.pong(at));
const header = { sequence: 7, timestamp: 1.5, deadline: 2.5 };
const frame = { type: 'frame', width: 2, height: 1, data: Buffer.alloc(6) } as const;
const boxes = { type: 'boxes', frame_width: 2, frame_height: 1, boxes: [] } as const;
const data = { kind: 'data', ...header, payload: frame, metadata: { a: 1 } } as const;
const drop = { kind: 'drop', ...header, first: 4, reason: 'error', handler_id: 9, detail: 'why' } as const;

test('every field of the prefix is where the page says, and there are no others', () => {
  const rows = table('offset', 'type', 'name', 'meaning');
  const widths: Record<string, number> = { u8: 1, u16: 2, u32: 4, f64: 8 };
  let offset = 0;
  for (const [at, type] of rows) {
    expect(Number(at)).toBe(offset);
    offset += widths[type!]!;
  }
  expect(offset).toBe(PREFIX_BYTES);
  const at = (name: string) => Number(rows.find((row) => row[2] === name)![0]);
  const ofData = packet(data, 3.5, 11);
  const u32 = (name: string, head = ofData) => head.readUInt32LE(at(name));
  const f64 = (name: string, head = ofData) => head.readDoubleLE(at(name));
  expect(ofData.readUInt16LE(at('magic'))).toBe(Number(/^\d+/.exec(rows[0]![3]!)![0]));
  expect([u32('metadata bytes'), u32('payload bytes'), u32('width'), u32('height')]).toEqual([7, 6, 2, 1]);
  expect([f64('sequence'), f64('timestamp'), f64('deadline'), f64('sent at')]).toEqual([7, 1.5, 2.5, 3.5]);
  expect([f64('first'), f64('ordinal')]).toEqual([7, 11]);
  const ofBoxes = packet({ ...data, payload: boxes });
  expect(u32('JSON bytes', ofBoxes)).toBe(2);
  const ofDrop = packet(drop);
  expect([f64('extra', ofDrop), f64('first', ofDrop), u32('metadata bytes', ofDrop)]).toEqual([9, 4, 3]);
  const ofAck = ack(5, 6, 8);
  expect([f64('sequence', ofAck), f64('extra', ofAck), f64('ordinal', ofAck)]).toEqual([5, 6, 8]);
  expect([f64('sent at', ping(4.5)), f64('timestamp', pong(4.5))]).toEqual([4.5, 4.5]);
});

test('kinds, payload types and drop reasons have the numbers of the page', () => {
  const end = { kind: 'end', ...header } as const;
  const skip = { kind: 'skip', ...header } as const;
  const frames: Record<string, Buffer> = {
    ...Object.fromEntries([data, drop, end, skip].map((one) => [one.kind, packet(one)])),
    ...{ ack: ack(0, 0, 0), ping: ping(1), pong: pong(1) },
  };
  const kinds = table('kind', 'name', 'says').map(([number, name]) => [name!, Number(number)] as const);
  expect(Object.fromEntries(kinds)).toEqual(
    Object.fromEntries(Object.entries(frames).map(([name, bytes]) => [name, bytes[2]])),
  );
  const types = table('code', 'payload type', 'payload').map(([code, type]) => [type, Number(code)]);
  expect(types.map(([type]) => type)).toEqual([...PAYLOAD_TYPES]);
  for (const [type, code] of types) {
    const payload = { frame, boxes, jpeg: { ...frame, type: 'jpeg' }, bytes: { ...frame, type: 'bytes' } }[
      String(type)
    ];
    expect(packet({ ...data, payload: payload as typeof frame })[3]).toBe(code);
  }
  const reasons = table('code', 'drop reason', 'means');
  expect(reasons).toHaveLength(5);
  for (const [code, reason] of reasons) {
    expect(packet({ ...drop, reason: reason as DropReason })[3]).toBe(Number(code));
  }
});

test('the bounds are those of the code', () => {
  expect(Object.fromEntries(table('bound', 'value').map(([name, value]) => [name, value]))).toEqual({
    prefix: `${PREFIX_BYTES} bytes`,
    metadata: `${METADATA_BYTES_MAX} bytes`,
    payload: `${PAYLOAD_BYTES_MAX} bytes`,
    'detail of a drop': `${DROP_DETAIL_CHARS_MAX} characters`,
    'request or answer of a handshake': `${HANDSHAKE_BYTES_MAX} bytes`,
    'handshake answered within': `${LINK_HANDSHAKE_MS} ms`,
    'ping every': `${LINK_PING_MS} ms`,
    'silent peer is dead after': `${LINK_DEAD_MS} ms`,
    'window under `all`, packets': `${LINK_WINDOW_PACKETS} packets`,
    'window under `all`, small packets': `${LINK_WINDOW_SMALL_PACKETS} packets within ${LINK_WINDOW_SMALL_BYTES} bytes`,
    'window in bytes, either delivery': `${LINK_WINDOW_BYTES} bytes`,
    'window under `latest`': `${LATEST_WINDOW_PACKETS} packets`,
    'queue under `latest`': `${LATEST_QUEUE_PACKETS} packets`,
    'connections of one link': `${LINK_STRIPES_MAX}`,
    'first pause before dialling again': `${RECONNECT_BASE_MS} ms`,
    'longest pause before dialling again': `${RECONNECT_MAX_MS} ms`,
    'programs of one handler': `${WORKERS_MAX}`,
    'taps of one handler': `${TAPS_MAX}`,
    'posted packet': `${POST_PACKET_BYTES_MAX} bytes`,
  });
});

test('the handshakes on the page are those that are sent', () => {
  const crlf = (text: string) => text.replaceAll('\n', '\r\n');
  const examples = [...PAGE.matchAll(/```http\n(GET [\s\S]*?\n\n)(HTTP[\s\S]*?\n\n)```/g)];
  expect(examples).toHaveLength(2);
  const address = { kind: 'http', url: 'http://10.0.0.7:9000' } as const;
  const [worker, link] = examples.map(([, request, answer]) => ({ request: crlf(request!), answer: crlf(answer!) }));
  const path = (text: string) => /^GET (\S+)/.exec(text)![1]!;
  const hello = { ...helloHeaders({ after: 41, received: 44, generation: 3 }) };
  const group = /x-link-group: (\S+)/.exec(link!.request)![1]!;
  const sent = (text: string, headers: Record<string, string | number>) =>
    requestText({ address, path: path(text), token: 'TOKEN', headers });
  expect(worker!.request).toBe(sent(worker!.request, {}));
  expect(link!.request).toBe(sent(link!.request, { ...hello, 'x-link-group': group }));
  expect(worker!.answer).toBe(switchingText({}));
  expect(link!.answer).toBe(switchingText({ 'x-link-settled': 39, 'x-link-stripes': LINK_STRIPES_MAX }));
  expect(upgradeTargetOf(path(worker!.request))).toMatchObject({ session_id: 1, handler_id: 2, kind: 'worker' });
  expect(upgradeTargetOf(path(link!.request))).toMatchObject({ session_id: 1, handler_id: 2, output: 0, kind: 'link' });
  expect(PAGE.match(/orchestrator-link\/1/g)!.length).toBeGreaterThan(3);
  expect(LINK_PROTOCOL_NAME).toBe('orchestrator-link/1');
});

test('the refusal on the page is what a node answers', () => {
  const [, length, body] = /```http\nHTTP\/1\.1 404(?:.|\n)*?content-length: (\d+)\n(?:.|\n)*?\n\n(.*)\n```/.exec(
    PAGE,
  )!;
  const context = { session_id: 1, handler_id: 9 };
  const error = new OrchestratorError('HANDLER_NOT_FOUND', 'session 1 has no handler 9 on this node', context);
  expect(JSON.parse(body!)).toEqual(error.toProblem());
  expect(Number(length)).toBe(Buffer.byteLength(body!));
});

test('the box on the page is one', () => {
  const [, json] = /```json\n([\s\S]*?)```/.exec(PAGE)!;
  const wire = Buffer.from(`[${json}]`);
  const blobs = Buffer.alloc(12288 + 512);
  const head = Buffer.from(packet({ ...data, payload: boxes, metadata: {} }).subarray(0, PREFIX_BYTES));
  head.writeUInt32LE(wire.length + blobs.length, 8);
  head.writeUInt32LE(wire.length, 20);
  const decoded: unknown[] = [];
  new FrameDecoder((one) => decoded.push(one)).push(Buffer.concat([head, wire, blobs]));
  expect(decoded).toMatchObject([
    { packet: { payload: { boxes: [{ label: 'face', crop: { width: 64, height: 64 } }] } } },
  ]);
});
