/** The shipped services measured: they state the accuracy that `evaluate` finds, and no variant is dominated. */
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parse, stringify } from 'yaml';
import { SERVICES_DIR } from '../package-facts.js';
import { evaluateNamed, profileNamed } from './index.js';
import { findServiceFiles, writeAccuracies, writeCosts } from './service-file.js';

const CACHE_DIR = join(tmpdir(), 'orchestrator-test-models');
const MEASURE = { cacheDir: CACHE_DIR, threads: 2, write: false, onProgress() {} };
/** Processors differ: one face or person near a threshold. */
const TOLERANCE = 0.03;

const serviceNamed = (path: string, name: string) => findServiceFiles(path, name)[0]!.service;

describe.each(['face_recognition', 'object_detection'])('%s on the sample pictures', (name) => {
  test('at least four variants; accuracy rises with cost, as stated, and none is dominated', async () => {
    const { variants } = serviceNamed(SERVICES_DIR, name);
    const figures = await evaluateNamed({ ...MEASURE, name, iou: 0.5 });
    expect(figures.length).toBeGreaterThanOrEqual(4);
    expect(figures.map(({ dominated_by }) => dominated_by)).toEqual(figures.map(() => null));
    const byCost = [...figures].sort((one, other) => one.cpu_ms - other.cpu_ms);
    for (const [index, one] of byCost.slice(1).entries()) expect(one.accuracy).toBeGreaterThan(byCost[index]!.accuracy);
    for (const { variant, accuracy } of figures) {
      const stated = variants.find(({ variant_name }) => variant_name === variant)!;
      expect(Math.abs(stated.accuracy - accuracy), `${variant}: ${accuracy}`).toBeLessThan(TOLERANCE);
      expect(stated.dataset).toContain('sample1..6.jpg');
    }
    if (name === 'face_recognition') for (const { rank_1 } of figures) expect(rank_1).toBeGreaterThan(0.95);
  }, 120_000);
});

const original = readFileSync(join(SERVICES_DIR, 'object_detection.json'), 'utf8');

test('profile measures every handler in a process of its own, and writes what the allocator reads', async () => {
  const services = mkdtempSync(join(tmpdir(), 'orchestrator-services-'));
  const file = join(services, 'object_detection.json');
  // Two variants are enough to see what they have in common, and what not.
  const { variants, ...rest } = JSON.parse(original);
  const some = { ...rest, variants: variants.slice(-2) };
  writeFileSync(file, JSON.stringify(some));
  const { handlers } = await profileNamed({ ...MEASURE, name: 'object_detection', services, write: true, calls: 1 });
  const measured = handlers.find(({ alternative }) => alternative === 'centernet_320')!;
  expect(measured).toMatchObject({ handler_type: 7, variants: ['fast'], profile_key: 'model=centernet,size=320' });
  expect(measured.cpu_ms).toBeGreaterThan(1);
  expect(measured.mem_mb).toBeGreaterThan(64);
  expect(measured.out_bytes).toBeGreaterThan(0);
  expect(handlers.find(({ handler }) => handler === 'decode')!.out_bytes).toBeGreaterThan(1_000_000);

  const fast = serviceNamed(services, 'object_detection').variants.find(({ variant_name }) => variant_name === 'fast')!;
  const detect = fast.handlers.find(({ handler_name }) => handler_name === 'detect')!;
  expect(detect.alternatives[0]!.cost.cpu_ms).toBeCloseTo(measured.cpu_ms_speed_1, 0);
  expect(detect.alternatives[0]!.cost.out_bytes).toBe(measured.out_bytes);
  expect(withoutFigures(JSON.parse(readFileSync(file, 'utf8')))).toEqual(withoutFigures(some));
}, 120_000);

test('figures are written into a YAML file too; its comments and all else stay', async () => {
  const file = join(mkdtempSync(join(tmpdir(), 'orchestrator-services-')), 'object_detection.yaml');
  writeFileSync(file, `# ours\n${stringify(JSON.parse(original))}`);
  await writeAccuracies(file, [{ variant: 'fast', accuracy: 0.12345 }], 'a street');
  const cost = { cpu_ms_speed_1: 7.77, mem_mb: 99.5, out_bytes: 4321 };
  await writeCosts(file, [{ handler: 'detect', alternative: 'centernet_320', ...cost }]);

  const fast = serviceNamed(file, 'object_detection').variants.find(({ variant_name }) => variant_name === 'fast')!;
  expect(fast).toMatchObject({ accuracy: 0.123, dataset: 'a street' });
  const detect = fast.handlers.find(({ handler_name }) => handler_name === 'detect')!;
  expect(detect.alternatives[0]!.cost).toMatchObject({ cpu_ms: 7.8, mem_mb: 100, out_bytes: 4321 });
  const text = readFileSync(file, 'utf8');
  expect(text).toContain('# ours');
  expect(withoutFigures(parse(text))).toEqual(withoutFigures(JSON.parse(original)));
});

interface FileForm {
  readonly handlers: readonly Record<string, unknown>[];
  readonly variants: readonly Record<string, unknown>[];
}

function withoutFigures({ handlers, variants, ...rest }: FileForm) {
  const free = ({ cost: _cost, ...handler }: Record<string, unknown>) => handler;
  return {
    ...rest,
    handlers: handlers.map((one) => {
      const alternatives = one.alternatives as Record<string, unknown>[] | undefined;
      return { ...free(one), ...(alternatives === undefined ? {} : { alternatives: alternatives.map(free) }) };
    }),
    variants: variants.map(({ accuracy: _accuracy, dataset: _dataset, ...variant }) => variant),
  };
}

test.each([
  [{ name: 'nonsense' }, 'SERVICE_NOT_FOUND', 'there are detect_posted, face_recognition, object_detection'],
  [{ name: 'object_detection', variant: 'best' }, 'USAGE', 'there are accurate, balanced, light, fast'],
])('evaluate refuses %o', async (asked, code, named) => {
  await expect(evaluateNamed({ ...MEASURE, iou: 0.5, ...asked })).rejects.toThrow(
    expect.objectContaining({ code, message: expect.stringContaining(named) }),
  );
});
