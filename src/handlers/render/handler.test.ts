import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer, get, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { DropPacket, Frame, PacketMetadata } from '../../contracts/packet.js';
import type { ProcessingHandler } from '../../handler-kit/define.js';
import { createProcessing, packetOf, type TestContextOptions } from '../context.testing.js';
import { manifest } from './manifest.js';
import { VIEWERS_MAX } from './pages.js';

let outputDir: string;
let opened: ProcessingHandler[] = [];
beforeEach(() => {
  outputDir = mkdtempSync(join(tmpdir(), 'orchestrator-render-'));
});
afterEach(async () => {
  for (const handler of opened) await handler.close();
  opened = [];
});

async function render(
  params: Record<string, unknown> = {},
  options: TestContextOptions = {},
): Promise<ProcessingHandler> {
  const handler = await createProcessing(manifest, params, { outputDir, ...options });
  opened.push(handler);
  return handler;
}

function frame(shade = 0): Frame {
  return { type: 'frame', width: 32, height: 16, data: Buffer.alloc(32 * 16 * 3, shade) };
}

function drop(sequence: number): DropPacket {
  return { kind: 'drop', sequence, timestamp: 0, deadline: 0, reason: 'queue', handler_id: 4 };
}

const box = { label: 'Ada', prob: 0.9, x: 1, y: 2, w: 3, h: 4 };

async function take(handler: ProcessingHandler, sequence: number, metadata: PacketMetadata = {}): Promise<void> {
  expect(await handler.process([packetOf(frame(sequence), sequence, metadata)])).toEqual({ outputs: [] });
}

function lines(directory = outputDir): Record<string, unknown>[] {
  const text = readFileSync(join(directory, 'boxes.jsonl'), 'utf8');
  return text
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

const pictures = (directory = outputDir) => readdirSync(directory).filter((name) => name.endsWith('.jpg'));

describe('what it records', () => {
  test('one line per sequence, with boxes or with where and why it ended', async () => {
    const handler = await render();
    await take(handler, 0, { input: 'a.jpg', boxes: [{ ...box, embedding: [0.5, -0.5] }] });
    handler.dropped?.(drop(1));
    await take(handler, 2, { input: 'c.jpg' });
    await handler.ended?.({ kind: 'end', sequence: 0, timestamp: 0, deadline: 0 });
    expect(lines()).toEqual([
      { input: 'a.jpg', sequence: 0, boxes: [{ ...box, embedding: [0.5, -0.5] }], latency_ms: expect.any(Number) },
      { sequence: 1, dropped: 'queue', handler_id: 4 },
      { input: 'c.jpg', sequence: 2, boxes: [], latency_ms: expect.any(Number) },
    ]);
    expect(pictures()).toEqual(['000000.jpg', '000002.jpg']);
    expect(readFileSync(join(outputDir, '000002.jpg')).subarray(0, 2)).toEqual(Buffer.from([0xff, 0xd8]));
  });

  test('a JPEG that comes in is written as it is', async () => {
    const handler = await render();
    const jpeg = Buffer.from([0xff, 0xd8, 1, 2, 3]);
    await handler.process([packetOf({ type: 'jpeg', data: jpeg }, 7)]);
    expect(readFileSync(join(outputDir, '000007.jpg'))).toEqual(jpeg);
  });

  test('nothing that was not asked for', async () => {
    const handler = await render({ write_frames: false, boxes: false });
    await take(handler, 0);
    expect(readdirSync(outputDir)).toEqual([]);
    expect(handler.committed).toBeUndefined();
  });

  test('keeps the newest frames_max frames, those of an earlier run counted', async () => {
    const first = await render({ frames_max: 3 });
    for (const sequence of [0, 1, 2, 3]) await take(first, sequence);
    expect(pictures()).toEqual(['000001.jpg', '000002.jpg', '000003.jpg']);
    writeFileSync(join(outputDir, '.000004.jpg.part'), 'half');
    const second = await render({ frames_max: 3 });
    for (const sequence of [4, 5, 6, 7, 8]) await take(second, sequence);
    expect(pictures()).toEqual(['000006.jpg', '000007.jpg', '000008.jpg']);
    expect(existsSync(join(outputDir, '.000004.jpg.part'))).toBe(false);
    const all = await render({ frames_max: 0 });
    for (const sequence of [9, 10, 11, 12]) await take(all, sequence);
    expect(pictures()).toHaveLength(7);
  });

  test('a directory of its own below the output directory, and no other', async () => {
    const handler = await render({ output: 'cam/1' });
    await take(handler, 0);
    expect(pictures(join(outputDir, 'cam/1'))).toEqual(['000000.jpg']);
    symlinkSync(tmpdir(), join(outputDir, 'away'));
    for (const output of ['..', '../x', tmpdir(), 'cam/../../x', 'away']) {
      await expect(render({ output })).rejects.toMatchObject({ code: 'SOURCE_FORBIDDEN' });
    }
    await take(await render({ output: '..cam' }), 0);
  });
});

describe('after a kill', () => {
  test('knows what is recorded and cuts off what was torn', async () => {
    const first = await render();
    await take(first, 0, { boxes: [box] });
    first.dropped?.(drop(1));
    await take(first, 2);
    appendFileSync(join(outputDir, 'boxes.jsonl'), '{"input":"d.jpg","sequence":3,"bo');
    const second = await render();
    expect(second.committed).toBe(2);
    await take(second, 3);
    expect(lines().map((line) => line.sequence)).toEqual([0, 1, 2, 3]);
  });

  test.each([1, 10, 300])('every way of tearing a line of %i kB is cut at the line before it', async (kB) => {
    const first = await render({ write_frames: false });
    await take(first, 0, { input: 'x'.repeat(100_000) });
    const whole = readFileSync(join(outputDir, 'boxes.jsonl'));
    const torn = Buffer.from(JSON.stringify({ input: 'y'.repeat(kB * 1000), sequence: 1 }));
    for (const length of [1, 2, Math.floor(torn.length / 2), torn.length]) {
      writeFileSync(join(outputDir, 'boxes.jsonl'), Buffer.concat([whole, torn.subarray(0, length)]));
      const again = await render({ write_frames: false });
      expect(again.committed).toBe(0);
      expect(readFileSync(join(outputDir, 'boxes.jsonl')).equals(whole)).toBe(true);
    }
  });

  test('a file with nothing but a torn line begins anew', async () => {
    writeFileSync(join(outputDir, 'boxes.jsonl'), '{"sequ');
    const handler = await render();
    expect(handler.committed).toBe(-1);
    await take(handler, 0);
    expect(lines()).toHaveLength(1);
  });

  test('what is sent again is not recorded again', async () => {
    const first = await render();
    for (const sequence of [0, 1]) await take(first, sequence);
    const second = await render();
    for (const sequence of [0, 1, 2, 2]) await take(second, sequence);
    second.dropped?.(drop(2));
    expect(lines().map((line) => line.sequence)).toEqual([0, 1, 2]);
  });

  test('a frame file without its line is made again', async () => {
    writeFileSync(join(outputDir, '000000.jpg'), 'written just before the kill');
    const handler = await render({ frames_max: 1 });
    await take(handler, 0);
    expect(pictures()).toEqual(['000000.jpg']);
    expect(readFileSync(join(outputDir, '000000.jpg'))[0]).toBe(0xff);
  });

  test('a file that is not ours is refused, and left as it is', async () => {
    writeFileSync(join(outputDir, 'boxes.jsonl'), 'shopping list\n');
    await expect(render()).rejects.toThrow(/its last line is no record of a sequence: shopping list/);
    expect(readFileSync(join(outputDir, 'boxes.jsonl'), 'utf8')).toBe('shopping list\n');
  });
});

describe('pages', () => {
  let server: Server;
  let base: string;
  let handler: ProcessingHandler;

  async function serve(params: Record<string, unknown> = {}): Promise<void> {
    handler = await render({ write_frames: false, ...params });
    server = createServer((request, response) => handler.page?.(request.url!.slice(1), request, response));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    base = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  }
  afterEach(() => {
    server.closeAllConnections();
    server.close();
  });

  test('the newest frame, its record, all records', async () => {
    await serve();
    expect((await fetch(`${base}frame.jpg`)).status).toBe(404);
    expect(await (await fetch(`${base}boxes.jsonl`)).text()).toBe('');
    await take(handler, 0, { input: 'a.jpg', boxes: [box] });
    handler.dropped?.(drop(1));
    const picture = await fetch(`${base}frame.jpg`);
    expect(picture.headers.get('content-type')).toBe('image/jpeg');
    expect(new Uint8Array(await picture.arrayBuffer())[0]).toBe(0xff);
    expect(await (await fetch(`${base}boxes.json`)).json()).toMatchObject({ sequence: 0, boxes: [box], fps: 0 });
    expect((await (await fetch(`${base}boxes.jsonl`)).text()).split('\n')).toHaveLength(3);
    expect(await (await fetch(`${base}index.html`)).text()).toContain('stream.mjpeg');
    const unknown = await fetch(`${base}nothing`);
    expect(unknown.status).toBe(404);
    expect(await unknown.json()).toMatchObject({ code: 'ROUTE_NOT_FOUND' });
  });

  test('without records there is no boxes.jsonl', async () => {
    await serve({ boxes: false });
    expect((await fetch(`${base}boxes.jsonl`)).status).toBe(404);
  });

  const open = () => new Promise<IncomingMessage>((resolve) => get(`${base}stream.mjpeg`, resolve));

  test('a stream shows the frame that is there, then those that come, at most fps of them', async () => {
    await serve({ fps: 20 });
    await take(handler, 0);
    const response = await open();
    expect(response.headers['content-type']).toBe('multipart/x-mixed-replace; boundary=frame');
    let text = '';
    response.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1');
    });
    const parts = () => text.split('--frame\r\n').length - 1;
    await expect.poll(parts).toBe(1);
    for (const sequence of [1, 2, 3]) await take(handler, sequence);
    await expect.poll(parts).toBe(2);
    await new Promise((resolve) => setTimeout(resolve, 60));
    await take(handler, 4);
    await expect.poll(parts).toBe(3);
    response.destroy();
  });

  test('a viewer that does not read holds up nothing, and gets the newest frame when it reads again', async () => {
    await serve();
    const slow = await open();
    slow.pause();
    const large = Buffer.alloc(1_000_000);
    for (let sequence = 0; sequence < 60; sequence++) {
      await handler.process([packetOf({ type: 'jpeg', data: large }, sequence)]);
    }
    const last = Buffer.concat([Buffer.from([0xff, 0xd8]), Buffer.from('the newest')]);
    await handler.process([packetOf({ type: 'jpeg', data: last }, 60)]);
    let receivedBytes = 0;
    let tail = '';
    slow.on('data', (chunk: Buffer) => {
      receivedBytes += chunk.length;
      tail = (tail + chunk.toString('latin1')).slice(-100);
    });
    slow.resume();
    await expect.poll(() => tail.includes('the newest')).toBe(true);
    expect(receivedBytes).toBeLessThan(30 * large.length);
    slow.destroy();
  });

  test('viewers are bounded, and those that leave make room', async () => {
    await serve();
    const viewers = await Promise.all(Array.from({ length: VIEWERS_MAX }, open));
    expect((await open()).statusCode).toBe(503);
    viewers[0]!.destroy();
    await expect
      .poll(async () => {
        const response = await open();
        response.destroy();
        return response.statusCode;
      })
      .toBe(200);
    for (const viewer of viewers) viewer.destroy();
  });
});

describe('an MP4', () => {
  const framesOf = (file: string) => {
    const args = [
      '-v',
      'error',
      '-count_frames',
      '-show_entries',
      'stream=nb_read_frames,width,height',
      '-of',
      'csv=p=0',
    ];
    return execFileSync('ffprobe', [...args, join(outputDir, file)])
      .toString()
      .trim();
  };

  test('holds every frame when the stream has ended, and is not overwritten by the next run', async () => {
    const first = await render({ video: 'out.mp4', video_fps: 10, write_frames: false });
    for (let sequence = 0; sequence < 12; sequence++) await take(first, sequence);
    await first.ended!({ kind: 'end', sequence: 12, timestamp: 0, deadline: 0 });
    expect(framesOf('out.mp4')).toBe('32,16,12');
    const again = await createProcessing(manifest, { video: 'out.mp4', write_frames: false }, { outputDir });
    await take(again, 12);
    await again.close();
    expect(framesOf('out-1.mp4')).toBe('32,16,1');
    expect(framesOf('out.mp4')).toBe('32,16,12');
  });

  test('of frames with odd sides can be played', async () => {
    const handler = await render({ video: 'odd.mp4', write_frames: false });
    const odd: Frame = { type: 'frame', width: 33, height: 17, data: Buffer.alloc(33 * 17 * 3, 90) };
    await handler.process([packetOf(odd, 0)]);
    await handler.ended!({ kind: 'end', sequence: 1, timestamp: 0, deadline: 0 });
    expect(framesOf('odd.mp4')).toBe('34,18,1');
  });

  test.each(['../out.mp4', 'a/b.mp4', '-y.mp4', 'out.avi'])('named %s is refused', async (video) => {
    await expect(render({ video })).rejects.toMatchObject({ code: 'HANDLER_PARAMS_INVALID' });
  });
});

describe('a webhook', () => {
  test('gets each line in order, also those of while it was away', async () => {
    const received: number[] = [];
    let failures = 2;
    const server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        failures -= 1;
        if (failures < 0) {
          for (const line of Buffer.concat(chunks).toString().trim().split('\n')) {
            received.push((JSON.parse(line) as { sequence: number }).sequence);
          }
        }
        response.writeHead(failures < 0 ? 204 : 503).end();
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const handler = await createProcessing(
      manifest,
      { webhook: `http://127.0.0.1:${port}/hook`, write_frames: false },
      { outputDir },
    );
    for (let sequence = 0; sequence < 300; sequence++) await take(handler, sequence, { boxes: [box] });
    await handler.close();
    server.close();
    expect(received).toEqual(Array.from({ length: 300 }, (_, index) => index));
    expect(handler.warnings.join()).toMatch(/it answered 503; retry 1 in/);
  });

  test('that is not there costs the session nothing but the lines, and is told', async () => {
    const handler = await createProcessing(manifest, { webhook: 'http://127.0.0.1:9/' }, { outputDir });
    await take(handler, 0);
    await handler.close();
    expect(lines()).toHaveLength(1);
    expect(handler.warnings.join()).toContain('lines were not delivered');
  });

  test('that the operator did not allow is refused', async () => {
    await expect(render({ webhook: 'http://127.0.0.1:9/' }, { allow: outputDir })).rejects.toMatchObject({
      code: 'SOURCE_FORBIDDEN',
    });
  });
});
