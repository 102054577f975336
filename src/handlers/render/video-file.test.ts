import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { expect, test } from 'vitest';
import { VideoFile } from './video-file.js';

const hasFfmpeg = spawnSync('ffmpeg', ['-version']).status === 0;
if (!hasFfmpeg) {
  if (process.env.CI) throw new Error('ffmpeg is not on PATH, and in CI it has to be');
  console.warn('ffmpeg is not on PATH: the bounds of recorded videos are not tested');
}

test.skipIf(!hasFfmpeg)('a full file is followed by the next, and the oldest make room', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'video-file-'));
  for (const name of ['out.mp4', 'out-3.mp4', 'out-a.mp4', 'other-9.mp4']) writeFileSync(join(directory, name), '');
  const noise = { type: 'gaussian', mean: 128, sigma: 60 } as const;
  const picture = sharp({ create: { width: 320, height: 240, channels: 3, background: 'black', noise } });
  const jpeg = await picture.jpeg().toBuffer();
  const video = new VideoFile({ directory, name: 'out.mp4', fps: 25, bytesMax: 1, filesMax: 2 });
  for (let frame = 0; frame < 400; frame++) await video.write(jpeg);
  await video.end();
  const left = readdirSync(directory).sort();
  expect(left).toHaveLength(4);
  expect(left).toEqual(expect.arrayContaining(['out-a.mp4', 'other-9.mp4']));
  const numbers = left.flatMap((name) => /^out-(\d+)\.mp4$/.exec(name)?.[1] ?? []).map(Number);
  expect(numbers[1]! - numbers[0]!).toBe(1);
  expect(numbers[0]).toBeGreaterThanOrEqual(4);
});
