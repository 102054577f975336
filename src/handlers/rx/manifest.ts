import Type from '#vendor/typebox.js';
import { OrchestratorError } from '../../contracts/errors.js';

import { defineHandler } from '../../handler-kit/define.js';

const params = Type.Object({
  addr: Type.String({ default: '', description: 'Accepted and ignored: an rx listens where its node does' }),
  port: Type.Integer({
    minimum: 0,
    maximum: 65_535,
    default: 0,
    description:
      'Joins a tx with the rx of the same port; 0 = in the order in which they stand. Of `POST /` on a node: the port on which the rx listens',
  }),
  protocol: Type.String({ default: '', description: 'Accepted and ignored: links are HTTP' }),
});

/**
 * Known so that the reference's templates read as they are. A tx and its rx become a link when a session starts, before
 * anything is placed, so that no code ever runs for them (and the emitted type is never compared with an input).
 */
export const manifest = defineHandler({
  handler_type_id: 1,
  handler_type_name: 'rx',
  aliases: ['Rx'],
  description: 'Receives packets from the tx of another node; a tx and its rx become a link when the session starts',
  inputs: [],
  outputs: [{ name: 'packet', emits: 'bytes' }],
  params,
  cost: { cpu_ms: 0, gpu_ms: 0, mem_mb: 0, out_bytes: 0 },
  host: 'shared',
  load: () =>
    Promise.reject(
      new OrchestratorError(
        'HANDLER_FAILED',
        'rx is no handler of its own: tx and rx become links when a session starts',
      ),
    ),
});
