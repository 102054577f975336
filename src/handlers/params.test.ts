/** What every handler type does with parameters that are unknown, out of range, or spelled as the reference spells them. */
import { expect, test } from 'vitest';
import { parseParams } from '../contracts/handler-type.js';
import { HANDLER_MANIFESTS } from './index.js';

interface Schema {
  readonly type?: string;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly anyOf?: readonly Schema[];
}

/** Bounds of a parameter, also of one that may be null. */
function boundsOf(schema: Schema): Schema | undefined {
  return [schema, ...(schema.anyOf ?? [])].find(
    ({ minimum, maximum }) => minimum !== undefined || maximum !== undefined,
  );
}

const propertiesOf = (params: unknown) => (params as { properties?: Record<string, Schema> }).properties ?? {};

test.each(HANDLER_MANIFESTS.map((type) => [type.handler_type_name, type] as const))(
  '%s names what it does not know, and refuses what is out of range by name',
  (_name, type) => {
    const { warnings, params } = parseParams(type, { no_such_thing: 1 }, 'test');
    expect(warnings.join()).toContain('no_such_thing');
    expect(params).not.toHaveProperty('no_such_thing');
    for (const [name, schema] of Object.entries(propertiesOf(type.params))) {
      const { minimum, maximum } = boundsOf(schema) ?? {};
      const outside = [minimum === undefined ? [] : [minimum - 1], maximum === undefined ? [] : [maximum + 1]].flat();
      for (const value of outside) {
        expect(() => parseParams(type, { [name]: value }, 'test'), `${name} = ${value}`).toThrow(name);
      }
    }
  },
);

test("tresh, the reference's spelling, means thresh", () => {
  const types = HANDLER_MANIFESTS.filter((type) => 'thresh' in propertiesOf(type.params));
  expect(types.map((type) => type.handler_type_id)).toEqual(expect.arrayContaining([7, 10, 13, 14, 15]));
  for (const type of types) {
    expect(parseParams(type, { tresh: 0.45 }, 'test').params, type.handler_type_name).toMatchObject({ thresh: 0.45 });
  }
});

test('the parameters of the reference are known to its types', () => {
  const named: Readonly<Record<number, readonly string[]>> = {
    0: ['addr', 'port', 'protocol'],
    1: ['addr', 'port', 'protocol'],
    2: ['source', 'width', 'height', 'fps'],
    3: ['fps'],
    4: ['width', 'height'],
    5: ['quality'],
    6: [],
    7: ['gpu', 'config', 'weights', 'labels', 'targets', 'thresh', 'hier_thresh', 'nms'],
    8: ['scale_factor', 'min_size'],
    9: ['upsample'],
    10: ['model', 'upsample', 'thresh'],
    11: ['predictor', 'indices', 'dim'],
    12: ['model', 'dim', 'margin', 'gpu_memory_frac'],
    13: ['predictor', 'model', 'classifier', 'dim', 'jitters', 'thresh'],
    14: ['model', 'classifier', 'dim', 'gpu', 'thresh'],
    15: ['model', 'classifier', 'dim', 'gpu_memory_frac', 'thresh'],
    16: [],
    17: [],
  };
  const boxes = [7, 8, 9, 10, 11, 12, 13, 14, 15];
  for (const type of HANDLER_MANIFESTS.filter((one) => one.handler_type_id <= 17)) {
    const id = type.handler_type_id;
    const expected = [...named[id]!, ...(boxes.includes(id) ? ['with_crop', 'multiple'] : [])];
    expect(Object.keys(propertiesOf(type.params)), type.handler_type_name).toEqual(expect.arrayContaining(expected));
  }
});
