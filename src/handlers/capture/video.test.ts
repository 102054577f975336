/** Video through the real ffmpeg: files, a stream over HTTP that goes away and comes back, and what is wrong. */
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import type { Frame } from '../../contracts/packet.js';
import { PpmParser, VideoWriter } from '../../vision/ffmpeg.js';
import { encodeJpeg } from '../../vision/images.js';
import { createSource, type TestContextOptions } from '../context.testing.js';
import { manifest } from './manifest.js';

type Emitted = Frame | { readonly skip: string };

let dir: string;
let clip: string;
const path = process.env.PATH;
/** Ten frames of 64 x 48 at 10 frames/s; frame n is grey of 20 n. */
const FRAMES = 10;
const grey = (value: number, width = 64, height = 48): Frame => ({
  type: 'frame',
  width,
  height,
  data: Buffer.alloc(width * height * 3, value),
});

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'orchestrator-video-'));
  clip = join(dir, 'clip.mp4');
  const writer = new VideoWriter(clip, 10);
  for (let index = 0; index < FRAMES; index++) await writer.write(await encodeJpeg(grey(index * 20), 95));
  await writer.end();
});
afterAll(() => {
  process.env.PATH = path;
  rmSync(dir, { recursive: true, force: true });
});

/** Runs a source until it ends, or `enough` says so of what it has emitted. */
async function emitted(
  params: Record<string, unknown>,
  {
    from = 0,
    enough = () => false,
    ...options
  }: TestContextOptions & { from?: number; enough?: (out: Emitted[]) => boolean } = {},
): Promise<Emitted[]> {
  const source = await createSource(manifest, { fps: 0, ...params }, options);
  const stop = new AbortController();
  const out: Emitted[] = [];
  await source.run({
    nextSequence: () => from + out.length,
    async emit(payload) {
      out.push(payload as Emitted);
      if (enough(out)) stop.abort();
    },
    signal: stop.signal,
  });
  await source.close();
  return out;
}

const brightness = (one: Emitted) => Math.round(('type' in one ? one.data[0]! : Number.NaN) / 20);

describe('a video file', () => {
  test('gives every frame once, in order, at its own size', async () => {
    const out = await emitted({ source: clip });
    expect(out.map(brightness)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(out[0]).toMatchObject({ width: 64, height: 48 });
  });

  test('is resized by ffmpeg, in proportion where one side is given', async () => {
    const [both] = await emitted({ source: clip, width: 32, height: 20 });
    expect(both).toMatchObject({ width: 32, height: 20 });
    const [one] = await emitted({ source: clip, width: 32 });
    expect(one).toMatchObject({ width: 32, height: 24 });
  });

  test('goes on at the frame where it was, also round the end of a loop', async () => {
    expect((await emitted({ source: clip }, { from: 7 })).map(brightness)).toEqual([7, 8, 9]);
    expect(await emitted({ source: clip }, { from: FRAMES })).toEqual([]);
    const looped = await emitted({ source: clip, loop: true }, { from: 8, enough: (out) => out.length === 4 });
    expect(looped.map(brightness)).toEqual([8, 9, 0, 1]);
  });

  test('stops at once, however much ffmpeg has ready', async () => {
    for (let round = 0; round < 8; round++) {
      const out = await emitted({ source: clip, loop: true }, { enough: ({ length }) => length === 1 + (round % 4) });
      expect(out).toHaveLength(1 + (round % 4));
    }
  });

  test('is thinned out to the wanted rate, and played no faster than it', async () => {
    const startMs = performance.now();
    const out = await emitted({ source: clip, fps: 5 });
    expect(out).toHaveLength(FRAMES / 2);
    expect(performance.now() - startMs).toBeGreaterThan(4 * 200 - 20);
  });

  test('that is cut off gives what it holds and then an account of the rest', async () => {
    const raw = join(dir, 'whole.mkv');
    execFileSync('ffmpeg', ['-loglevel', 'error', '-i', clip, '-c:v', 'mjpeg', '-q:v', '2', raw]);
    const cut = join(dir, 'cut.mkv');
    writeFileSync(cut, readFileSync(raw));
    truncateSync(cut, Math.floor(statSync(raw).size * 0.6));
    const out = await emitted({ source: cut });
    const frames = out.filter((one) => 'type' in one);
    expect(frames.length).toBeGreaterThan(0);
    expect(frames.length).toBeLessThanOrEqual(FRAMES);
    expect(frames.map(brightness)).toEqual(frames.map((_, index) => index));
  });

  test.each([
    ['text.mp4', 'this is no video'],
    ['playlist.mp4', '#EXTM3U\n#EXTINF:1,\n/etc/hostname\n'],
    ['empty.avi', ''],
  ])('that is none (%s) fails the start, with the reason', async (name, content) => {
    writeFileSync(join(dir, name), content);
    await expect(createSource(manifest, { source: join(dir, name) })).rejects.toMatchObject({
      code: 'SOURCE_NOT_FOUND',
      message: expect.stringContaining(`${name} cannot be read as video`),
    });
  });

  test('that is missing, or not allowed, fails the start', async () => {
    await expect(createSource(manifest, { source: join(dir, 'none.mp4') })).rejects.toMatchObject({
      code: 'SOURCE_NOT_FOUND',
    });
    await expect(createSource(manifest, { source: clip }, { allow: join(dir, 'in') })).rejects.toMatchObject({
      code: 'SOURCE_FORBIDDEN',
    });
  });
});

/** A camera that sends a JPEG as often as its viewer takes one, until it is closed. */
class Camera {
  readonly #server: Server;
  readonly #viewers = new Set<ServerResponse>();
  value = 100;

  constructor() {
    this.#server = createServer((_request, response) => {
      response.writeHead(200, { 'content-type': 'multipart/x-mixed-replace; boundary=frame' });
      this.#viewers.add(response);
      response.on('close', () => this.#viewers.delete(response));
      void this.#send(response);
    });
  }

  async #send(response: ServerResponse): Promise<void> {
    while (!response.destroyed) {
      const jpeg = await encodeJpeg(grey(this.value), 95);
      response.write(`--frame\r\ncontent-type: image/jpeg\r\ncontent-length: ${jpeg.length}\r\n\r\n`);
      response.write(jpeg);
      response.write('\r\n');
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  async listen(port = 0): Promise<number> {
    this.#server.listen(port, '127.0.0.1');
    await once(this.#server, 'listening');
    return (this.#server.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    for (const viewer of this.#viewers) viewer.destroy();
    this.#server.close();
    await once(this.#server, 'close');
  }
}

describe('a stream over HTTP', () => {
  test('that stops and starts again is picked up by the same source', async () => {
    const first = new Camera();
    const port = await first.listen();
    const second = new Camera();
    second.value = 200;
    let closing: Promise<unknown> | null = null;
    const seen = (out: Emitted[], value: number) =>
      out.some((one) => 'type' in one && Math.abs(one.data[0]! - value) < 9);
    const out = await emitted(
      { source: `http://127.0.0.1:${port}/live.mjpeg` },
      {
        enough(so_far) {
          if (closing === null && seen(so_far, 100)) closing = first.close().then(() => second.listen(port));
          return seen(so_far, 200);
        },
      },
    );
    await closing;
    await second.close();
    expect(seen(out, 100) && seen(out, 200)).toBe(true);
  });

  test('that is not there yet is waited for, and the wait ends with the session', async () => {
    const camera = new Camera();
    const port = await camera.listen();
    await camera.close();
    const source = await createSource(manifest, { source: `http://127.0.0.1:${port}/` });
    const stop = new AbortController();
    expect(source.note?.()).toBeUndefined();
    const run = source.run({ nextSequence: () => 0, async emit() {}, signal: stop.signal });
    await vi.waitFor(() => expect(source.note?.()).toMatch(/^broke off \(.+\); retry \d+ (in \d+ s|now)$/), 20_000);
    stop.abort();
    await run;
  });

  test.each(['ftp://camera/x', 'file:///etc/passwd', 'concat://a'])('%s is refused', async (source) => {
    await expect(createSource(manifest, { source })).rejects.toMatchObject({ code: 'HANDLER_PARAMS_INVALID' });
  });

  test('whose address the operator did not allow is refused', async () => {
    const refused = createSource(manifest, { source: 'rtsp://cam/live' }, { allow: dir });
    await expect(refused).rejects.toMatchObject({ code: 'SOURCE_FORBIDDEN' });
  });
});

test('a camera that is not there is refused by its device', async () => {
  await expect(createSource(manifest, { source: 63 })).rejects.toMatchObject({
    code: 'SOURCE_NOT_FOUND',
    message: expect.stringContaining('/dev/video63'),
  });
});

test('without ffmpeg the error names it', async () => {
  process.env.PATH = dir;
  try {
    await expect(createSource(manifest, { source: clip })).rejects.toMatchObject({
      code: 'FFMPEG_MISSING',
      message: expect.stringMatching(/ffprobe, which is not on the PATH.*apt-get install ffmpeg/),
    });
  } finally {
    process.env.PATH = path;
  }
});

describe('PPM pictures in a byte stream', () => {
  const ppm = (frame: Frame) => Buffer.concat([Buffer.from(`P6\n${frame.width} ${frame.height}\n255\n`), frame.data]);

  test('are cut out wherever the chunks end', () => {
    const frames = [grey(1, 2, 3), grey(2, 5, 1), grey(3, 1, 1)];
    const bytes = Buffer.concat(frames.map(ppm));
    for (let size = 1; size <= bytes.length; size++) {
      const parser = new PpmParser();
      const out: Frame[] = [];
      for (let at = 0; at < bytes.length; at += size) out.push(...parser.push(bytes.subarray(at, at + size)));
      expect(out).toEqual(frames);
    }
  });

  test('that are none, or too large, are refused', () => {
    const push = (text: string) => [...new PpmParser().push(Buffer.from(text))];
    expect(() => push('<html>this is no picture at all</html>')).toThrow('no PPM picture');
    expect(() => push('P6\n99999 99999\n255\n')).toThrow('99999 x 99999 pixels');
  });
});
