import Type from '#vendor/typebox.js';
import { OrchestratorError } from '../../contracts/errors.js';
import { PAYLOAD_TYPES } from '../../contracts/packet.js';
import { defineHandler } from '../../handler-kit/define.js';

const params = Type.Object({
  addr: Type.String({
    default: '',
    description: 'Address of the other node; only a reference coordinator needs to give it, ours knows it',
  }),
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
 * anything is placed, so that no code ever runs for them.
 */
export const manifest = defineHandler({
  handler_type_id: 0,
  handler_type_name: 'tx',
  aliases: ['Tx'],
  description: 'Sends packets to the rx of another node; a tx and its rx become a link when the session starts',
  inputs: [{ name: 'packet', accepts: [...PAYLOAD_TYPES] }],
  outputs: [],
  params,
  cost: { cpu_ms: 0, gpu_ms: 0, mem_mb: 0, out_bytes: 0 },
  host: 'shared',
  load: () =>
    Promise.reject(
      new OrchestratorError(
        'HANDLER_FAILED',
        'tx is no handler of its own: tx and rx become links when a session starts',
      ),
    ),
});
