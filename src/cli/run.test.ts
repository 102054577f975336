/** `run` of the built program on real pictures and models: its lines, its exit codes, and that nothing is left behind. */
import { spawn } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { cliEntry, samplePicturesDir } from '../main/package-facts.js';

/** A first start converts models; two cores may be busy with other tests. */
const TIMEOUT_MS = 120_000;

let root: string;
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'run-'));
  mkdirSync(join(root, 'tmp'));
  mkdirSync(join(root, 'people', 'Ada'), { recursive: true });
  const samples = samplePicturesDir();
  copyFileSync(join(samples, 'sample1.jpg'), join(root, 'a.jpg'));
  writeFileSync(join(root, 'b.jpg'), readFileSync(join(samples, 'sample2.jpg')).subarray(0, 20_000));
  copyFileSync(join(samples, 'sample3.jpg'), join(root, 'c.jpg'));
  copyFileSync(join(samples, 'sample1.jpg'), join(root, 'people', 'Ada', '1.jpg'));
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs in `root`, with a temporary directory of its own that must be empty afterwards. */
function run(args: readonly string[], onStderr: (text: string, end: () => void) => void = () => {}): Promise<Outcome> {
  const child = spawn(process.execPath, [cliEntry(), 'run', ...args], {
    cwd: root,
    env: { ...process.env, TMPDIR: join(root, 'tmp') },
  });
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (chunk: Buffer) => {
    stdout += chunk.toString();
  });
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk.toString();
    onStderr(stderr, () => child.kill('SIGINT'));
  });
  return new Promise((resolve) => child.once('close', (code) => resolve({ code, stdout, stderr })));
}

test(
  'one JSON line per picture, in order; a corrupt one has its error, and the exit code is 1',
  async () => {
    const args = [
      'face_recognition',
      '--input',
      '*.jpg',
      '--json',
      '--gallery',
      'people',
      '--embeddings',
      '--output',
      'out',
    ];
    const { code, stdout, stderr } = await run(args);
    const lines = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(
      lines.map(({ input, sequence }) => [input, sequence]),
      stderr,
    ).toEqual([
      ['a.jpg', 0],
      ['b.jpg', 1],
      ['c.jpg', 2],
    ]);
    expect(code).toBe(1);
    expect(lines[0].boxes).toHaveLength(3);
    expect(lines[0].boxes[0]).toMatchObject({
      label: expect.any(String),
      prob: expect.any(Number),
      x: expect.any(Number),
    });
    expect(lines[0].boxes[0].embedding).toHaveLength(128);
    expect(lines[0].boxes.map((box: { label: string }) => box.label)).toContain('Ada');
    expect(lines[0].latency_ms).toBeGreaterThan(0);
    expect(lines[1].error).toMatch(/^error at capture: b\.jpg: /);
    expect(lines[2].boxes).toHaveLength(3);
    expect(readdirSync(join(root, 'out'))).toEqual(['a.jpg', 'c.jpg']);
    expect(readdirSync(join(root, 'tmp'))).toEqual([]);
  },
  TIMEOUT_MS,
);

test(
  'Ctrl-C ends it in order: exit 130, no file and no process left',
  async () => {
    const args = ['object_detection', '--input', 'a.jpg', 'c.jpg', '--progress'];
    const { code } = await run(args, (text, end) => {
      if (text.includes('loading models')) end();
    });
    expect(code).toBe(130);
    expect(readdirSync(join(root, 'tmp'))).toEqual([]);
  },
  TIMEOUT_MS,
);

test('an input that names nothing, before anything is started', async () => {
  const { code, stderr } = await run(['object_detection', '--input', 'none*.jpg']);
  expect([code, stderr]).toEqual([1, 'error SOURCE_NOT_FOUND: source none*.jpg names no picture\n']);
});
