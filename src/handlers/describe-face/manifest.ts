import Type, { type Static } from '#vendor/typebox.js';
import { defineHandler } from '../../handler-kit/define.js';
import { BOXES_PARAMS, MODEL_PARAMS } from '../common-params.js';

const params = Type.Object({
  ...MODEL_PARAMS,
  models: Type.Array(Type.String(), {
    minItems: 1,
    maxItems: 8,
    default: ['age_gender'],
    description:
      'Nets to ask, in this order: `age_gender` or `faceres` (attributes `age`, `gender`, `gender_prob`), `antispoof` (`real`), ' +
      '`liveness` (`live`)',
  }),
  ...BOXES_PARAMS,
});
export type DescribeFaceParams = Static<typeof params>;

export const manifest = defineHandler({
  handler_type_id: 20,
  handler_type_name: 'describe_face',
  aliases: ['DescribeFace'],
  description:
    'Tells attributes of each face, best of an aligned one: age and gender, and whether it looks alive and unaltered',
  inputs: [{ name: 'boxes', accepts: ['boxes'] }],
  outputs: [{ name: 'boxes', emits: 'boxes' }],
  params,
  cost: { cpu_ms: 11, gpu_ms: 0, mem_mb: 120, out_bytes: 250_000 },
  host: 'own',
  share: false,
  load: () => import('./handler.js'),
});
