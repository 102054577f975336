/** Video through the whole system: an MP4 made here and, where Debian's opencv-doc is, its street clip. */
import { execFile, execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { awaitSession } from '../src/main/session-wait.js';
import { SAMPLES, startSystem, type TestSystem } from './support/system.js';

const STREET = '/usr/share/doc/opencv-doc/examples/data/vtest.avi';

/** Declared small, so that a loaded machine does not refuse what the test is not about. */
const cost = { cpu_ms: 1, mem_mb: 50 };
const SERVICE = {
  service_id: 1,
  service_name: 'people',
  handlers: [
    { handler_id: 1, handler_name: 'capture', handler_type: 'capture', at: 'source', params: { fps: 0 }, cost },
    {
      handler_id: 2,
      handler_name: 'detect',
      handler_type: 'detect_object',
      at: 'source',
      params: { size: 416, targets: ['person'], with_crop: false },
      cost,
    },
    { handler_id: 3, handler_name: 'draw', handler_type: 'draw_labeled_boxes', at: 'source', cost },
    {
      handler_id: 4,
      handler_name: 'render',
      handler_type: 'render',
      at: 'source',
      params: { write_frames: false, video: 'out.mp4' },
      cost,
    },
  ],
  links: [
    { source_handler: 1, target_handler: 2 },
    { source_handler: 1, target_handler: 3 },
    { source_handler: 2, target_handler: 3, target_input: 1 },
    { source_handler: 3, target_handler: 4 },
  ],
};

const SHIPPED = fileURLToPath(new URL('../resources/services/object_detection.json', import.meta.url));
const CLI = fileURLToPath(new URL('../dist/cli/orchestrator.js', import.meta.url));

let system: TestSystem;
beforeAll(async () => {
  system = await startSystem({
    services: [SERVICE, JSON.parse(readFileSync(SHIPPED, 'utf8'))],
    nodes: [{ node_id: 0, node_name: 'client', node_type: 'client' }],
  });
});
afterAll(async () => {
  await system?.close();
});

/** Frames of a clip in the system's directory of pictures, which sessions may name. */
function clip(name: string, input: readonly string[], frames: number): string {
  const path = join(system.pictures(name, 0), 'clip.mp4');
  const output = ['-frames:v', String(frames), '-c:v', 'libx264', '-pix_fmt', 'yuv420p', path];
  execFileSync('ffmpeg', ['-loglevel', 'error', ...input, ...output]);
  return path;
}

const cases: (readonly [string, readonly string[], number])[] = [
  ['pictures', ['-framerate', '4', '-i', join(dirname(SAMPLES[0]!), 'sample%d.jpg'), '-vf', 'scale=640:480'], 6],
  ...(existsSync(STREET) ? [['street', ['-i', STREET], 12] as const] : []),
];

async function untilEnd(sessionId: number): Promise<void> {
  const ended = ({ observed }: { observed: string }) => observed === 'stopped' || observed === 'failed';
  const session = await awaitSession(system.coordinator, sessionId, ended, { timeoutMs: 90_000 });
  expect(session.observed).toBe('stopped');
}

test.each(cases)(
  'a clip of %s runs to its end, every frame accounted for and recorded',
  async (name, input, frames) => {
    const source = clip(name, input, frames);
    const { session_id } = await system.coordinator.createSession({ service: 'people', source, delivery: 'all' });
    await untilEnd(session_id!);
    const lines = system.journal(session_id!);
    expect(lines.map((line) => line.sequence)).toEqual(Array.from({ length: frames }, (_, index) => index));
    const seen = lines.filter((line) => line.boxes?.some((box) => box.label === 'person'));
    expect(seen.length).toBeGreaterThan(frames / 2);
    const video = system.output(session_id!, 'out.mp4');
    const count = ['-v', 'error', '-count_frames', '-show_entries', 'stream=nb_read_frames', '-of', 'csv=p=0', video];
    expect(execFileSync('ffprobe', count).toString().trim()).toBe(String(frames));
  },
  120_000,
);

test.each(cases)(
  '`session start object_detection --source FILE` takes a clip of %s',
  async (name, input, frames) => {
    const goal = ['--fps', '0.5', '--variant', 'light', '--delivery', 'all', '--param', 'capture.fps=0'];
    const start = ['session', 'start', 'object_detection', '--source', clip(`shipped-${name}`, input, frames), ...goal];
    const where = ['--coordinator', system.coordinatorUrl, '--json'];
    const { stdout } = await promisify(execFile)(process.execPath, [CLI, ...start, ...where]);
    const { session_id } = JSON.parse(stdout) as { session_id: number };
    await untilEnd(session_id);
    const lines = system.journal(session_id);
    expect(lines.map((line) => line.sequence)).toEqual(Array.from({ length: frames }, (_, index) => index));
    expect(lines.some((line) => line.boxes?.some((box) => box.label === 'person'))).toBe(true);
  },
  120_000,
);
