/** A few small handler types for tests of the contracts; the real ones live in handlers/. */
import Type from '#vendor/typebox.js';
import { type HandlerType, HandlerTypeRegistry } from './handler-type.js';
import type { PayloadType } from './packet.js';

const cost = { cpu_ms: 1, gpu_ms: 0, mem_mb: 16, out_bytes: 1024 };

function type(id: number, name: string, accepts: PayloadType[][], emits: PayloadType[], params = {}): HandlerType {
  return {
    handler_type_id: id,
    handler_type_name: name,
    aliases: name === 'detect_object' ? ['YoloDetectObject'] : [],
    description: name,
    inputs: accepts.map((one, index) => ({ name: `in${index}`, accepts: one })),
    outputs: emits.map((one, index) => ({ name: `out${index}`, emits: one })),
    params: Type.Object(params, { additionalProperties: false }),
    cost,
    host: 'shared',
    ...(name === 'detect_object' ? { share: false } : {}),
  };
}

const ANY: PayloadType[] = ['frame', 'jpeg', 'boxes', 'bytes'];

export function testRegistry(): HandlerTypeRegistry {
  return new HandlerTypeRegistry([
    type(0, 'tx', [ANY], [], { addr: Type.Optional(Type.String()), port: Type.Optional(Type.Integer()) }),
    type(1, 'rx', [], ['bytes'], { addr: Type.Optional(Type.String()), port: Type.Optional(Type.Integer()) }),
    type(2, 'capture', [], ['frame'], { source: Type.String({ default: '0' }) }),
    type(3, 'render', [['frame']], []),
    type(5, 'encode', [['frame']], ['jpeg'], { quality: Type.Integer({ minimum: 1, maximum: 100, default: 80 }) }),
    type(6, 'decode', [['jpeg']], ['frame']),
    type(7, 'detect_object', [['frame', 'boxes']], ['boxes'], {
      model: Type.String({ default: 'm' }),
      targets: Type.Array(Type.String(), { default: ['all'] }),
      thresh: Type.Number({ minimum: 0, maximum: 1, default: 0.5 }),
    }),
    type(16, 'draw_boxes', [['frame'], ['boxes']], ['frame']),
  ]);
}
