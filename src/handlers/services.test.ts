/** The shipped service and handler type files: they load without a warning. Their accuracies are measured in main/figures. */
import { readdirSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { type HandlerTypeFile, HandlerTypeFileSchema, HandlerTypeRegistry } from '../contracts/handler-type.js';
import { parseWith } from '../contracts/schema.js';
import { normalizeService, type Service } from '../contracts/service.js';
import { decodePicture } from '../vision/images.js';
import { createProcessing, FACES_OF_SAMPLES, outputOf, samplePath } from './context.testing.js';
import { manifest as detectFace } from './detect-face/manifest.js';
import { HANDLER_MANIFESTS } from './index.js';

const RESOURCES = fileURLToPath(new URL('../../resources', import.meta.url));
const types = new HandlerTypeRegistry(HANDLER_MANIFESTS);

function json(path: string): unknown {
  return JSON.parse(readFileSync(`${RESOURCES}/${path}`, 'utf8'));
}

function service(name: string): Service {
  return normalizeService(json(`services/${name}.json`), types, `${name}.json`);
}

const files = readdirSync(`${RESOURCES}/services`).map((file) => basename(file, '.json'));

describe('service files', () => {
  test.each(files)('%s loads without a warning and is named like its file', (name) => {
    const loaded = service(name);
    expect(loaded.warnings).toEqual([]);
    expect(loaded.service_name).toBe(name);
    expect(loaded.description.length).toBeGreaterThan(20);
  });

  test('ids are unique', () => {
    const ids = files.map((name) => service(name).service_id);
    expect(new Set(ids).size).toBe(ids.length);
  });

  test("the reference's templates become links between nodes", () => {
    const offload = service('offload_detect');
    expect(offload.template).toEqual([
      { node_id: 0, handler_ids: [0, 1, 8, 9] },
      { node_id: 1, handler_ids: [4, 5] },
    ]);
    const links = offload.variants[0]!.links.map(
      (link) => `${link.source_handler}>${link.target_handler}.${link.target_input}`,
    );
    expect(links.sort()).toEqual(['0>1.0', '0>8.0', '1>4.0', '4>5.0', '5>8.1', '8>9.0']);
    const detect = offload.variants[0]!.handlers.find((handler) => handler.handler_id === 5)!;
    expect(detect).toMatchObject({ handler_type: 7, alternatives: [{ params: { targets: ['person'] } }] });
    expect(service('local_render').template).toEqual([{ node_id: 0, handler_ids: [0, 1] }]);
  });
});

test.each(readdirSync(`${RESOURCES}/handler_types`))('%s declares what the manifest says', (file) => {
  const declared: HandlerTypeFile = parseWith(
    HandlerTypeFileSchema,
    json(`handler_types/${file}`),
    'HANDLER_TYPE_FILE_INVALID',
    file,
  );
  const { description, cost } = types.get(declared.handler_type_id, file);
  expect(declared).toMatchObject({ description, cost });
  new HandlerTypeRegistry(HANDLER_MANIFESTS).declare(declared);
});

test('the most accurate variant finds every face of the samples, and nothing else', async () => {
  const { handlers } = service('face_recognition').variants.find(({ variant_name }) => variant_name === 'accurate')!;
  const { alternatives } = handlers.find((handler) => handler.handler_name === 'detect')!;
  const detect = await createProcessing(detectFace, { ...alternatives[0]!.params, gpu: false, with_crop: false });
  const counts: number[] = [];
  for (const index of FACES_OF_SAMPLES.keys()) {
    const frame = await decodePicture(readFileSync(samplePath(index + 1)));
    counts.push((await outputOf(detect, [frame], 'boxes')).boxes.length);
  }
  await detect.close();
  expect(counts).toEqual([...FACES_OF_SAMPLES]);
});
