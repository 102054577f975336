import { describe, expect, test } from 'vitest';
import type { ErrorCode } from './errors.js';
import { OrchestratorError } from './errors.js';
import { testRegistry } from './registry.testing.js';
import { normalizeService } from './service.js';
import { blueprintOf } from './service-graph.js';

const types = testRegistry();

const handlers = [
  { handler_id: 1, handler_name: 'capture', handler_type: 'capture', at: 'source' },
  {
    handler_id: 2,
    handler_name: 'detect',
    handler_type: 7,
    params: { thresh: 0.4 },
    alternatives: [
      { name: 'small', params: { model: 's' }, accuracy: 0.8, cost: { cpu_ms: 5 } },
      { name: 'large', params: { model: 'l' }, accuracy: 0.9, cost: { cpu_ms: 50 } },
    ],
  },
  { handler_id: 3, handler_name: 'draw', handler_type: 'draw_boxes', at: 'source' },
  { handler_id: 4, handler_name: 'render', handler_type: 'render', at: 2 },
];
const links = [
  { source_handler: 1, target_handler: 2 },
  { source_handler: 1, target_handler: 3 },
  { source_handler: 2, target_handler: 3, target_input: 1 },
  { source_handler: 3, target_handler: 4 },
];
const service = { service_id: 1, service_name: 's', handlers, links };

describe('normal form', () => {
  test('alternatives make one variant whose handlers may be chosen freely', () => {
    const { variants, template } = normalizeService(service, types, 'f.json');
    expect(template).toBeNull();
    expect(variants.map((variant) => variant.variant_name)).toEqual(['default']);
    const detect = variants[0]!.handlers[1]!;
    expect(detect.alternatives.map((one) => [one.name, one.accuracy, one.cost.cpu_ms, one.params])).toEqual([
      ['small', 0.8, 5, { thresh: 0.4, model: 's', targets: ['all'] }],
      ['large', 0.9, 50, { thresh: 0.4, model: 'l', targets: ['all'] }],
    ]);
    expect(variants[0]!.handlers.map((handler) => handler.at)).toEqual([
      { kind: 'source' },
      null,
      { kind: 'source' },
      { kind: 'node', node_id: 2 },
    ]);
    expect(variants[0]!.order).toEqual([1, 2, 3, 4]);
  });

  test('a variant that chooses states the accuracy of the whole chain', () => {
    const file = {
      ...service,
      variants: [
        { variant_name: 'fast', accuracy: 0.7, dataset: 'd', choose: { detect: 'small' } },
        { variant_name: 'best', accuracy: 0.95, choose: { detect: 'large' } },
      ],
    };
    const { variants } = normalizeService(file, types, 'f.json');
    expect(variants.map((one) => [one.variant_name, one.accuracy, one.handlers[1]!.alternatives.length])).toEqual([
      ['fast', 0.7, 1],
      ['best', 0.95, 1],
    ]);
    expect(variants[0]!.handlers[1]!.alternatives[0]!.accuracy).toBe(1);
    const blueprint = blueprintOf(variants[1]!.handlers, variants[1]!.links, (handler) => handler.alternatives[0]!);
    expect(blueprint.handlers[1]!.params).toEqual({ thresh: 0.4, model: 'l', targets: ['all'] });
  });

  test("a template's tx and rx become links", () => {
    const template = [
      {
        node_id: 0,
        blueprint: {
          handlers: [
            { handler_id: 1, handler_name: 'capture', handler_type: 2 },
            { handler_id: 2, handler_name: 'encode', handler_type: 5 },
            { handler_id: 3, handler_name: 'tx', handler_type: 0, params: { port: 9100 } },
            { handler_id: 4, handler_name: 'rx', handler_type: 1, params: { port: 9200 } },
            { handler_id: 5, handler_name: 'draw', handler_type: 16 },
            { handler_id: 6, handler_name: 'render', handler_type: 3 },
          ],
          links: [
            { source_handler: 1, source_output: 0, target_handler: 2, target_input: 0 },
            { source_handler: 2, source_output: 0, target_handler: 3, target_input: 0 },
            { source_handler: 1, source_output: 0, target_handler: 5, target_input: 0 },
            { source_handler: 4, source_output: 0, target_handler: 5, target_input: 1 },
            { source_handler: 5, source_output: 0, target_handler: 6, target_input: 0 },
          ],
        },
      },
      {
        node_id: 1,
        blueprint: {
          handlers: [
            { handler_id: 7, handler_name: 'rx', handler_type: 1, params: { port: 9100 } },
            { handler_id: 8, handler_name: 'decode', handler_type: 6 },
            { handler_id: 9, handler_name: 'detect', handler_type: 7, params: { targets: ['person'] } },
            { handler_id: 10, handler_name: 'tx', handler_type: 0, params: { port: 9200 } },
          ],
          links: [
            { source_handler: 7, source_output: 0, target_handler: 8, target_input: 0 },
            { source_handler: 8, source_output: 0, target_handler: 9, target_input: 0 },
            { source_handler: 9, source_output: 0, target_handler: 10, target_input: 0 },
          ],
        },
      },
    ];
    const normal = normalizeService({ service_id: 2, service_name: 'offload_detect', template }, types, 'f.json');
    expect(normal.template).toEqual([
      { node_id: 0, handler_ids: [1, 2, 5, 6] },
      { node_id: 1, handler_ids: [8, 9] },
    ]);
    const pairs = normal.variants[0]!.links.map(
      (link) => `${link.source_handler}-${link.target_handler}.${link.target_input}`,
    );
    expect(pairs.sort()).toEqual(['1-2.0', '1-5.0', '2-8.0', '5-6.0', '8-9.0', '9-5.1']);
  });
});

/** What is wrong with a service file, and what its author reads. */
const REFUSALS: { name: string; file: unknown; code: ErrorCode; message: RegExp }[] = [
  { name: 'not an object', file: [], code: 'SERVICE_FILE_INVALID', message: /f\.json: / },
  { name: 'no name', file: { service_id: 1 }, code: 'SERVICE_FILE_INVALID', message: /service_name/ },
  { name: 'unknown key', file: { ...service, handelrs: [] }, code: 'SERVICE_FILE_INVALID', message: /handelrs/ },
  {
    name: 'template and handlers',
    file: {
      ...service,
      template: [{ node_id: 0, blueprint: { handlers: [{ handler_id: 1, handler_name: 'x', handler_type: 2 }] } }],
    },
    code: 'SERVICE_FILE_INVALID',
    message: /either "template" or/,
  },
  {
    name: 'unknown handler type',
    file: { ...service, handlers: [{ handler_id: 1, handler_name: 'x', handler_type: 'teleport' }], links: [] },
    code: 'HANDLER_TYPE_UNKNOWN',
    message: /handler 1 x: handler_type "teleport" is unknown; known: .*capture/,
  },
  {
    name: 'handler id twice',
    file: { ...service, handlers: [...handlers, { handler_id: 1, handler_name: 'again', handler_type: 'encode' }] },
    code: 'HANDLER_DUPLICATE',
    message: /handler_id 1 is used twice/,
  },
  {
    name: 'parameter out of range',
    file: {
      ...service,
      handlers: [{ handler_id: 1, handler_name: 'e', handler_type: 'encode', params: { quality: 250 } }],
      links: [],
    },
    code: 'HANDLER_PARAMS_INVALID',
    message: /quality must be <= 100 \(is 250\)/,
  },
  {
    name: 'open input',
    file: { ...service, links: links.slice(1) },
    code: 'PORT_UNLINKED',
    message: /handler 2 detect: input 0/,
  },
  {
    name: 'unknown port',
    file: { ...service, links: [{ source_handler: 1, source_output: 3, target_handler: 2 }, ...links.slice(1)] },
    code: 'LINK_UNKNOWN_PORT',
    message: /capture has 1 output, no output 3/,
  },
  {
    name: 'unknown handler',
    file: { ...service, links: [...links, { source_handler: 99, target_handler: 2 }] },
    code: 'LINK_UNKNOWN_HANDLER',
    message: /no handler has id 99/,
  },
  {
    name: 'two links into one input',
    file: { ...service, links: [...links, { source_handler: 3, target_handler: 2 }] },
    code: 'LINK_DUPLICATE_INPUT',
    message: /input 2\.0 already has a link/,
  },
  {
    name: 'payload types do not fit',
    file: { ...service, links: [...links.slice(0, 3), { source_handler: 2, target_handler: 4 }] },
    code: 'LINK_TYPE_MISMATCH',
    message: /detect_object emits boxes, render input 0 accepts frame/,
  },
  {
    name: 'cycle',
    file: {
      ...service,
      handlers: [
        { handler_id: 1, handler_name: 'e', handler_type: 'encode' },
        { handler_id: 2, handler_name: 'd', handler_type: 'decode' },
      ],
      links: [
        { source_handler: 1, target_handler: 2 },
        { source_handler: 2, target_handler: 1 },
      ],
    },
    code: 'GRAPH_CYCLE',
    message: /handlers 1, 2 form a cycle/,
  },
  {
    name: 'a choice that is not there',
    file: { ...service, variants: [{ variant_name: 'v', accuracy: 0.5, choose: { detect: 'huge' } }] },
    code: 'SERVICE_FILE_INVALID',
    message: /choose\.detect = huge is not one of small, large/,
  },
  {
    name: 'variant name twice',
    file: {
      ...service,
      variants: [
        { variant_name: 'v', accuracy: 0.5 },
        { variant_name: 'v', accuracy: 0.6 },
      ],
    },
    code: 'SERVICE_FILE_INVALID',
    message: /variant_name v is used twice/,
  },
  {
    name: 'tx without rx',
    file: {
      service_id: 3,
      service_name: 't',
      template: [
        {
          node_id: 0,
          blueprint: {
            handlers: [
              { handler_id: 1, handler_name: 'capture', handler_type: 2 },
              { handler_id: 2, handler_name: 'tx', handler_type: 0 },
            ],
            links: [{ source_handler: 1, target_handler: 2 }],
          },
        },
      ],
    },
    code: 'SERVICE_FILE_INVALID',
    message: /tx handler 2 on node 0 has no rx on another node/,
  },
];

test.each(REFUSALS)('refused: $name', ({ file, code, message }) => {
  let thrown: unknown;
  try {
    normalizeService(file, types, 'f.json');
  } catch (error) {
    thrown = error;
  }
  expect(thrown).toBeInstanceOf(OrchestratorError);
  expect((thrown as OrchestratorError).code).toBe(code);
  expect((thrown as OrchestratorError).message).toMatch(message);
});

test('unknown parameters are warned of by name, and the reference spelling tresh is taken', () => {
  const file = {
    ...service,
    handlers: handlers.map((handler) =>
      handler.handler_id === 2 ? { ...handler, params: { tresh: 0.3, colour: 'red' } } : handler,
    ),
  };
  const normal = normalizeService(file, types, 'f.json');
  expect(normal.warnings.join()).toMatch(/detect_object has no parameter colour/);
  expect(normal.warnings.join()).not.toMatch(/tresh/);
});

describe('share', () => {
  const types = testRegistry();
  const [capture, { alternatives: _, ...one }, ...rest] = handlers as [object, (typeof handlers)[1], object, object];
  const detect = { ...one, cost: { mem_mb: 300 } };
  const shareOf = (given: object, ofDetect: object = {}) => {
    const all = [capture, { ...detect, ...ofDetect }, ...rest];
    const { variants } = normalizeService({ ...service, handlers: all, ...given }, types, 'f.json');
    return variants[0]!.handlers.map((one) => [one.handler_name, one.share, one.alternatives[0]!.cost.mem_mb]);
  };

  test('of the service goes to every handler that can, whose own word counts; and what is held is told apart', () => {
    expect(shareOf({})).toContainEqual(['detect', false, 300]);
    expect(shareOf({ share: true })).toEqual([
      ['capture', false, 16],
      ['detect', true, 70],
      ['draw', false, 16],
      ['render', false, 16],
    ]);
    expect(shareOf({ share: true }, { share: false })).toContainEqual(['detect', false, 300]);
    expect(shareOf({}, { share: true })).toContainEqual(['detect', true, 70]);
    const sharing = { ...service, handlers: [capture, { ...detect, share: true }, ...rest] };
    const [graph] = normalizeService(sharing, types, 'f.json').variants;
    expect(graph!.handlers[1]!.alternatives[0]!.cost).toMatchObject({ mem_mb: 70, model_mb: 300 });
    expect(blueprintOf(graph!.handlers, graph!.links, (handler) => handler.alternatives[0]!).handlers[1]).toMatchObject(
      {
        share: true,
      },
    );
  });

  test('of a type counts where the service does not say', () => {
    types.declare({ handler_type_id: 7, handler_type_name: 'detect_object', share: true });
    expect(shareOf({})).toContainEqual(['detect', true, 70]);
    expect(shareOf({ share: false })).toContainEqual(['detect', false, 300]);
    types.declare({ handler_type_id: 7, handler_type_name: 'detect_object', share: false });
  });

  test.each([
    [
      'a handler of a type that cannot',
      () => shareOf({ handlers: [{ ...capture, share: true }], links: [] }),
      'capture',
    ],
    ['a service where nothing can', () => shareOf({ share: true, handlers: [capture], links: [] }), 'capture'],
    [
      'the file of a type that cannot',
      () => types.declare({ handler_type_id: 3, handler_type_name: 'render', share: true }),
      'render',
    ],
    [
      'the file of a type that is not built in',
      () => types.declare({ handler_type_id: 200, handler_type_name: 'mine', share: true }),
      'mine',
    ],
  ])('of %s is refused by name', (_, ask, name) => {
    expect(ask).toThrow(expect.objectContaining({ code: 'SHARE_UNSUPPORTED', message: expect.stringContaining(name) }));
  });
});
