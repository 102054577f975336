import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { HANDLER_MANIFESTS } from '../handlers/index.js';
import { MODELS } from '../vision/catalogue.js';
import { describeModel } from '../vision/model-cache.js';
import { addModel, listModels, showModel, verifyModels } from './models.js';

let cacheDir: string;
const path = process.env.PATH;
beforeEach(() => {
  cacheDir = mkdtempSync(join(tmpdir(), 'models-command-'));
});
afterEach(() => {
  process.env.PATH = path;
  rmSync(cacheDir, { recursive: true, force: true });
});
const options = () => ({ cacheDir, onProgress: () => {} });
const tiny = async () => (await describeModel('tiny_face_detector')).sourcePath;

test('the list tells licence, hash, size and accuracy of each model, and what could be imported', async () => {
  const facts = await listModels(options(), false);
  expect(facts.filter((one) => one.place === 'catalogue').map((one) => one.name)).toEqual(
    MODELS.map((one) => one.name),
  );
  expect(facts.filter((one) => one.place === 'to import').map((one) => one.name)).toEqual([
    'mmod',
    'mtcnn',
    'ultraface',
    'fr_feature',
  ]);
  for (const one of facts) {
    expect(one.sha256).toMatch(/^[0-9a-f]{64}$/);
    expect(one.licence.length).toBeGreaterThan(2);
    expect(one.accuracy.length).toBeGreaterThan(2);
  }
});

test('the default model of every handler type may be used for anything', () => {
  const anyUse = MODELS.filter((one) => one.licence_any_use).map((one): string => one.name);
  for (const type of HANDLER_MANIFESTS) {
    const { model } = (type.params as unknown as { properties: Record<string, { default?: string }> }).properties;
    if (model?.default) expect(anyUse, type.handler_type_name).toContain(model.default);
  }
});

test('an imported model is listed, shown with its time here, verified, and told when it was changed', async () => {
  await addModel({ path: await tiny(), name: 'mine', origin: 'a test' }, options());
  expect(await showModel('mine', options())).toMatchObject({ place: 'imported', origin: 'a test', inputs: ['416'] });
  expect((await showModel('mine', options())).ms_here).toBeGreaterThan(0);
  const verdictsOf = (...names: string[]) => verifyModels(options(), names);
  expect(await verdictsOf('mine', 'face_landmark_68_tiny', 'nobody')).toMatchObject([
    { name: 'nobody', ok: false },
    { name: 'face_landmark_68_tiny', ok: true },
    { name: 'mine', ok: true },
  ]);
  const file = join(cacheDir, 'imported', 'mine.onnx');
  writeFileSync(file, readFileSync(file).fill(0, 200, 300));
  expect(await verdictsOf('mine')).toMatchObject([{ ok: false, detail: expect.stringContaining('has changed since') }]);
});

test('of a model of several nets each one is verified', async () => {
  const model = await addModel({ path: await tiny(), name: 'mine' }, options());
  const file = (ending: string) => join(cacheDir, 'imported', `mine.${ending}`);
  copyFileSync(file('onnx'), file('second.onnx'));
  writeFileSync(file('json'), JSON.stringify({ ...model, parts: { second: model.sha256 } }));
  expect(await verifyModels(options(), ['mine'])).toMatchObject([
    { ok: true, detail: expect.stringMatching(/second load$/) },
  ]);
  writeFileSync(file('second.onnx'), 'other bytes');
  expect(await verifyModels(options(), ['mine'])).toMatchObject([
    { ok: false, detail: expect.stringMatching(/mine\.second\.onnx has changed since/) },
  ]);
});

test('without npm a known model is refused with what else can be done; an unknown one by name', async () => {
  process.env.PATH = cacheDir;
  await expect(addModel({ path: 'ultraface' }, options())).rejects.toMatchObject({
    code: 'MODEL_NOT_FOUND',
    message: expect.stringMatching(/cannot be fetched .*; import model\/fr_detect\.onnx of it by its path/),
  });
  await expect(showModel('nobody', options())).rejects.toThrow('no model nobody; there are ssd_mobilenetv1');
});
