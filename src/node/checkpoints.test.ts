import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Checkpoints } from './checkpoints.js';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'orchestrator-checkpoints-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const again = async () => [...(await Checkpoints.open(directory)).sequences];

test('the next life knows the highest of each source', async () => {
  const first = await Checkpoints.open(directory);
  expect([...first.sequences]).toEqual([]);
  for (const settled of [3, 9, 7]) first.note(1, settled);
  first.note(4, 0);
  await first.flush();
  expect(await again()).toEqual([
    [1, 9],
    [4, 0],
  ]);
  expect(readdirSync(directory)).toHaveLength(1);
});

test.each(['', '{"1":', '[1]', '{"1":"x"}', '{"1":-2}', '{"x":1}'])('a file with %j is none', async (text) => {
  const first = await Checkpoints.open(directory);
  first.note(1, 5);
  await first.flush();
  const [name] = readdirSync(directory);
  writeFileSync(join(directory, name!), text);
  expect(await again()).toEqual([]);
  expect(readFileSync(join(directory, name!), 'utf8')).toBe(text);
});

test('a directory that takes no file costs nothing but the file', async () => {
  const checkpoints = await Checkpoints.open(join(directory, 'gone'));
  checkpoints.note(1, 5);
  await checkpoints.flush();
  expect([...checkpoints.sequences]).toEqual([[1, 5]]);
});
