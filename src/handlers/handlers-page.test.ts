import { expect, test } from 'vitest';
import { HandlerTypeRegistry, parseParams } from '../contracts/handler-type.js';
import { handlersPage } from './handlers-page.js';
import { HANDLER_MANIFESTS } from './index.js';

test('docs/handlers.md is what the manifests say (vitest -u writes it)', async () => {
  await expect(handlersPage(HANDLER_MANIFESTS)).toMatchFileSnapshot('../../docs/handlers.md');
});

test('every parameter of every type is described and has a default', () => {
  for (const type of HANDLER_MANIFESTS) {
    const { properties } = type.params as unknown as { properties: Record<string, object> };
    for (const [name, schema] of Object.entries(properties)) {
      expect(schema, `${type.handler_type_name}.${name}`).toMatchObject({
        description: expect.stringMatching(/.{10}|quality/),
      });
      expect(schema, `${type.handler_type_name}.${name}`).toHaveProperty('default');
    }
    expect(parseParams(type, {}, 'defaults').warnings).toEqual([]);
  }
});

test('ids, names and aliases are unique, and the reference keeps its ids', () => {
  const names = HANDLER_MANIFESTS.flatMap((type) => [type.handler_type_name, ...type.aliases]).map((name) =>
    name.toLowerCase(),
  );
  const own = HANDLER_MANIFESTS.flatMap((type) => [
    ...new Set([type.handler_type_name, ...type.aliases].map((name) => name.toLowerCase())),
  ]);
  expect(new Set(names).size).toBe(own.length);
  expect(new Set(HANDLER_MANIFESTS.map((type) => type.handler_type_id)).size).toBe(HANDLER_MANIFESTS.length);
  const registry = new HandlerTypeRegistry(HANDLER_MANIFESTS);
  const reference = {
    0: 'Tx',
    1: 'Rx',
    2: 'Capture',
    3: 'Render',
    4: 'Resize',
    5: 'Encode',
    6: 'Decode',
    7: 'YoloDetectObject',
  };
  const detectors = { 8: 'HaarDetectFace', 9: 'HogDetectFace', 10: 'MmodDetectFace', 12: 'MtcnnDetectFaceAlign' };
  const recognisers = { 13: 'DlibAlignRecognize', 14: 'OpenfaceRecognize', 15: 'FacenetRecognize' };
  const more = { ...detectors, ...recognisers, 11: 'DlibAlign', 16: 'DrawBoxes', 17: 'DrawLabeledBoxes' };
  for (const [id, name] of Object.entries({ ...reference, ...more })) {
    expect(registry.get(name, 'test').handler_type_id).toBe(Number(id));
  }
});

test.each(['tx', 'rx'])('%s has no code: the coordinator makes links of them', async (name) => {
  const type = HANDLER_MANIFESTS.find((one) => one.handler_type_name === name)!;
  await expect(type.load()).rejects.toMatchObject({
    code: 'HANDLER_FAILED',
    message: expect.stringContaining('links'),
  });
});
