import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { defaultCacheDir } from '../config/environment.js';
import { decodePicture, encodeJpeg, resizeFrame } from '../vision/images.js';
import { enrolPerson, listPeople, removePerson } from './people.js';

const SAMPLE = join(
  dirname(createRequire(import.meta.url).resolve('@vladmandic/face-api/package.json')),
  'demo/sample1.jpg',
);

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'orchestrator-people-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const enrol = (name: string, ...pictures: string[]) =>
  enrolPerson({ dir: join(dir, 'people'), name, pictures, cacheDir: defaultCacheDir(), onProgress() {} });

test('a person has one crop per picture, and the same picture twice is one', async () => {
  expect(await enrol('Ada Lovelace', SAMPLE, SAMPLE)).toEqual({ name: 'Ada Lovelace', pictures: 1 });
  expect(await enrol('Bea', SAMPLE)).toEqual({ name: 'Bea', pictures: 1 });
  expect(listPeople(join(dir, 'people'))).toEqual([
    { name: 'Ada Lovelace', pictures: 1 },
    { name: 'Bea', pictures: 1 },
  ]);
  const [file] = readdirSync(join(dir, 'people', 'Bea'));
  const crop = await decodePicture(readFileSync(join(dir, 'people', 'Bea', file!)));
  expect(crop.width).toBeLessThan((await decodePicture(readFileSync(SAMPLE))).width);
  expect(removePerson(join(dir, 'people'), 'Bea')).toEqual({ name: 'Bea', pictures: 1 });
  expect(() => removePerson(join(dir, 'people'), 'Bea')).toThrow('Bea is not enrolled in');
});

test('pictures without a usable face enrol nobody, and are named', async () => {
  const grey = join(dir, 'grey.jpg');
  writeFileSync(grey, await encodeJpeg({ width: 200, height: 200, data: Buffer.alloc(120_000, 128) }, 90));
  const small = join(dir, 'small.jpg');
  const sample = await decodePicture(readFileSync(SAMPLE));
  writeFileSync(small, await encodeJpeg(await resizeFrame(sample, 200, 133), 95));
  const text = join(dir, 'text.jpg');
  writeFileSync(text, 'no picture');
  for (const [path, why] of [
    [grey, 'shows no face'],
    [small, /shows (a face of \d+ px, at least 48|no face)/],
    [text, 'cannot be decoded'],
    [join(dir, 'none.jpg'), 'cannot be read'],
  ] as const) {
    const refused = enrol('Ada', SAMPLE, path);
    await expect(refused).rejects.toMatchObject({ code: 'GALLERY_INVALID', message: expect.stringContaining(path) });
    await expect(refused).rejects.toThrow(why);
  }
  expect(listPeople(join(dir, 'people'))).toEqual([]);
  for (const name of ['../x', '', '.hidden', 'a/b'])
    await expect(enrol(name, SAMPLE)).rejects.toMatchObject({ code: 'USAGE' });
});
