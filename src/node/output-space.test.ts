import { existsSync, mkdirSync, mkdtempSync, symlinkSync, truncateSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { OutputSpace } from './output-space.js';

const NOW_MS = Date.parse('2026-11-22T12:00:00Z');
const MIB = 2 ** 20;

/** A directory with `files` of [MiB, age in minutes], sessions 7 and 8 running; looks once and tells what is left. */
async function afterLook(mbMax: number, files: Record<string, [mib: number, ageMin: number]>) {
  const directory = mkdtempSync(join(tmpdir(), 'output-space-'));
  for (const [name, [mib, ageMin]] of Object.entries(files)) {
    const path = join(directory, name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, '');
    truncateSync(path, mib * MIB);
    const at = NOW_MS / 1000 - ageMin * 60;
    utimesSync(path, at, at);
  }
  const said: string[] = [];
  const note = (_: object, message: string) => void said.push(message);
  const logger = { debug() {}, info: note, warn: note, error: note };
  const space = new OutputSpace({ directory, mbMax, running: () => new Set([7, 8]), logger });
  await space.look(NOW_MS);
  const left = Object.keys(files).filter((name) => existsSync(join(directory, name)));
  return { directory, left, said };
}

test('below the bound nothing is removed and nothing is said', async () => {
  const { left, said } = await afterLook(10, { '7/000001.jpg': [4, 90], '3/boxes.jsonl': [6, 900] });
  expect(left).toHaveLength(2);
  expect(said).toEqual([]);
});

test('sessions that have ended go first, oldest file first, and their empty directories with them', async () => {
  const { directory, left, said } = await afterLook(6, {
    '3.2026-11-21T100000/faces/000001.jpg': [4, 900],
    '4/boxes.jsonl': [3, 800],
    '4/000002.jpg': [2, 700],
    '7/000001.jpg': [4, 9000],
  });
  expect(left).toEqual(['4/000002.jpg', '7/000001.jpg']);
  expect(existsSync(join(directory, '3.2026-11-21T100000'))).toBe(false);
  expect(said).toEqual(['outputs took 13 MiB of 6 (outputs_mb): the 2 oldest files were removed']);
});

test('of running sessions pictures and videos go, not what is being written, and never boxes.jsonl', async () => {
  const { left, said } = await afterLook(3, {
    '7/000001.jpg': [2, 50],
    '7/out.mp4': [5, 40],
    '8/000009.jpg': [2, 0.5],
    '8/boxes.jsonl': [4, 500],
  });
  expect(left).toEqual(['8/000009.jpg', '8/boxes.jsonl']);
  expect(said[0]).toMatch(/the 2 oldest files were removed, 6 MiB of running sessions are left$/);
});

test('a link is neither followed nor counted', async () => {
  const elsewhere = mkdtempSync(join(tmpdir(), 'elsewhere-'));
  writeFileSync(join(elsewhere, '000001.jpg'), '');
  truncateSync(join(elsewhere, '000001.jpg'), 9 * MIB);
  const { directory } = await afterLook(5, { '3/000001.jpg': [1, 90] });
  symlinkSync(elsewhere, join(directory, '3', 'way'));
  const logger = { debug() {}, info() {}, warn() {}, error() {} };
  await new OutputSpace({ directory, mbMax: 1, running: () => new Set(), logger }).look(NOW_MS);
  expect(existsSync(join(elsewhere, '000001.jpg'))).toBe(true);
  expect(existsSync(join(directory, '3', '000001.jpg'))).toBe(true);
});
