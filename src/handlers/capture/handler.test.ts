import { copyFileSync, mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Frame, PacketMetadata } from '../../contracts/packet.js';
import { createSource, samplePath, type TestContextOptions } from '../context.testing.js';
import { listSourceFiles } from './files.js';
import { manifest } from './manifest.js';

interface Emitted {
  readonly sequence: number;
  readonly payload: Frame | { readonly skip: string };
  readonly input: string | undefined;
  readonly atMs: number;
}

/** Runs a source until it ends or has emitted `most` pictures. */
async function emitted(
  params: Record<string, unknown>,
  { from = 0, most = 100, ...options }: TestContextOptions & { from?: number; most?: number } = {},
): Promise<Emitted[]> {
  const source = await createSource(manifest, { fps: 0, ...params }, options);
  const stop = new AbortController();
  const out: Emitted[] = [];
  let sequence = from;
  await source.run({
    nextSequence: () => sequence,
    async emit(payload, metadata: PacketMetadata) {
      out.push({ sequence, payload: payload as Frame, input: metadata.input, atMs: performance.now() });
      sequence += 1;
      if (out.length === most) stop.abort();
    },
    signal: stop.signal,
  });
  await source.close();
  return out;
}

const isFrame = (one: Emitted) => 'type' in one.payload;

let root: string;
const cwd = process.cwd();
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'orchestrator-capture-'));
  process.chdir(root);
});
afterEach(() => process.chdir(cwd));

function put(...names: string[]): void {
  for (const [index, name] of names.entries()) {
    mkdirSync(join(root, name, '..'), { recursive: true });
    copyFileSync(samplePath((index % 6) + 1), join(root, name));
  }
}

describe('what a source names', () => {
  const names = (source: string | number) => listSourceFiles(source, (path) => path).map((file) => file.name);

  test('one file', () => {
    put('a.jpg');
    expect(names('a.jpg')).toEqual(['a.jpg']);
  });

  test('a directory: its pictures, 2 before 10', () => {
    put('pics/f10.jpg', 'pics/f2.JPG', 'pics/f1.png', 'pics/notes.txt', 'pics/inner/f3.jpg');
    expect(names('pics')).toEqual(['pics/f1.png', 'pics/f2.JPG', 'pics/f10.jpg']);
  });

  test('a pattern in any part of the path', () => {
    put('cam1/a1.jpg', 'cam1/b1.jpg', 'cam2/a1.jpg', 'cam2/.a2.jpg', 'cam10/a1.jpg', 'cam2/a11.jpg');
    expect(names('cam1/*.jpg')).toEqual(['cam1/a1.jpg', 'cam1/b1.jpg']);
    expect(names('cam*/a?.jpg')).toEqual(['cam1/a1.jpg', 'cam2/a1.jpg', 'cam10/a1.jpg']);
    expect(names('cam?/b1.jpg')).toEqual(['cam1/b1.jpg']);
    expect(names(join(root, 'cam2', '*'))).toEqual([join(root, 'cam2/a1.jpg'), join(root, 'cam2/a11.jpg')]);
  });

  test('a numbered sequence, in the order of its numbers', () => {
    put('img_0002.png', 'img_0010.png', 'img_10000.png', 'img_7.png', 'img_0002.jpg');
    expect(names('img_%04d.png')).toEqual(['img_0002.png', 'img_0010.png', 'img_10000.png']);
    expect(names('./img_%d.png')).toHaveLength(4);
  });

  test('a file whose name looks like a pattern is that file', () => {
    put('what?.jpg', 'whats.jpg');
    expect(names('what?.jpg')).toEqual(['what?.jpg']);
  });

  test.each(['nothing.jpg', 'no/*.jpg', 'none_%d.jpg', '.'])('%s names no picture', (source) => {
    expect(() => names(source)).toThrow(expect.objectContaining({ code: 'SOURCE_NOT_FOUND' }));
  });
});

describe('capture', () => {
  test('emits each picture once, at its own size, and says which file it was', async () => {
    put('p/1.jpg', 'p/2.jpg');
    const out = await emitted({ source: 'p/*.jpg' });
    expect(out.map((one) => [one.sequence, one.input])).toEqual([
      [0, 'p/1.jpg'],
      [1, 'p/2.jpg'],
    ]);
    const frame = out[0]!.payload as Frame;
    expect(frame.data.length).toBe(frame.width * frame.height * 3);
    expect(frame.width).toBeGreaterThan(640);
  });

  test('resizes when asked to; one side alone keeps the proportions', async () => {
    put('1.jpg');
    const [both] = await emitted({ source: '1.jpg', width: 64, height: 48 });
    expect(both!.payload).toMatchObject({ width: 64, height: 48 });
    const [native] = await emitted({ source: '1.jpg' });
    const [one] = await emitted({ source: '1.jpg', width: 320 });
    const { width, height } = native!.payload as Frame;
    expect(one!.payload).toMatchObject({ width: 320, height: Math.round((320 * height) / width) });
  });

  test('a corrupt picture takes its sequence number with it, and the stream goes on', async () => {
    put('1.jpg', '3.jpg');
    writeFileSync('2.jpg', 'this is no picture');
    const out = await emitted({ source: '*.jpg' });
    expect(out.map(isFrame)).toEqual([true, false, true]);
    expect(out[1]!.payload).toMatchObject({ skip: expect.stringMatching(/^2\.jpg: .*cannot be decoded/) });
    expect(out[1]!.input).toBe('2.jpg');
  });

  test('goes on where it was after a restart, also round the end of a loop', async () => {
    put('1.jpg', '2.jpg', '3.jpg');
    expect((await emitted({ source: '.' }, { from: 2 })).map((one) => one.input)).toEqual(['3.jpg']);
    expect(await emitted({ source: '.' }, { from: 3 })).toEqual([]);
    const looped = await emitted({ source: '.', loop: true }, { from: 4, most: 4 });
    expect(looped.map((one) => one.input)).toEqual(['2.jpg', '3.jpg', '1.jpg', '2.jpg']);
  });

  test('is no faster than its rate', async () => {
    put('1.jpg');
    const out = await emitted({ source: '1.jpg', loop: true, fps: 20, width: 32, height: 32 }, { most: 6 });
    expect(out.at(-1)!.atMs - out[0]!.atMs).toBeGreaterThan(5 * 50 - 15);
  });

  test('stops at once when the session stops, in the middle of a wait', async () => {
    put('1.jpg', '2.jpg');
    const source = await createSource(manifest, { source: '.', fps: 0.01 });
    const stop = new AbortController();
    let sequence = 0;
    const run = source.run({
      nextSequence: () => sequence,
      async emit() {
        sequence += 1;
        setTimeout(() => stop.abort(), 20);
      },
      signal: stop.signal,
    });
    await run;
    expect(sequence).toBe(1);
  });

  test('a path outside what is allowed is refused', async () => {
    put('in/1.jpg', 'out/2.jpg');
    const allow = join(root, 'in');
    for (const source of ['out/2.jpg', 'out', 'out/*.jpg', 'out/%d.jpg', 'in/../out/2.jpg']) {
      await expect(createSource(manifest, { source }, { allow })).rejects.toMatchObject({ code: 'SOURCE_FORBIDDEN' });
    }
  });
});
