import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { prepareOutputs } from './outputs.js';

let root: string;
let dir: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'outputs-'));
  dir = join(root, '7');
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

const record = (text: string) => writeFileSync(join(dir, 'boxes.jsonl'), text);

test('a session finds its own outputs again', async () => {
  await prepareOutputs(dir, 100.5);
  record('mine');
  await prepareOutputs(dir, 100.5);
  expect(readFileSync(join(dir, 'boxes.jsonl'), 'utf8')).toBe('mine');
  expect(readdirSync(root)).toEqual(['7']);
});

test.each([
  ['another session of the same number', 100.5],
  ['nobody that is known', undefined],
])('the outputs of %s are set aside, not taken over and not removed', async (_name, before) => {
  if (before === undefined) mkdirSync(dir);
  else await prepareOutputs(dir, before);
  record('old');
  await prepareOutputs(dir, 200.5);
  expect(readdirSync(dir)).toEqual(['.session']);
  const aside = readdirSync(root).find((name) => name.startsWith('7.'))!;
  expect(readFileSync(join(root, aside, 'boxes.jsonl'), 'utf8')).toBe('old');
});
