import Type, { type Static } from '#vendor/typebox.js';
import { PAYLOAD_TYPES, type PayloadType } from '../../contracts/packet.js';
import { defineHandler } from '../../handler-kit/define.js';

const params = Type.Object({
  command: Type.String({
    default: '',
    description:
      'Command line that the host starts and keeps running, if the node allows it word for word (`[external] commands`); empty = programs join by themselves',
  }),
  in_flight: Type.Integer({
    minimum: 1,
    maximum: 16,
    default: 1,
    description: 'Packets that programs may have in hand; as many programs can be at work at once',
  }),
  timeout_ms: Type.Number({
    minimum: 1,
    maximum: 600_000,
    default: 10_000,
    description: 'A packet that is not answered in this time ends as an error, and its program is cut off, ms',
  }),
  attempts: Type.Integer({
    minimum: 1,
    maximum: 100,
    default: 5,
    description: 'Programs that may end while they have a packet in hand before it ends as an error',
  }),
});
export type ExternalParams = Static<typeof params>;

/** First of the ids; those below are the reference's and its successors'. */
const FIRST_ID = 100;

const manifestOf = (emits: PayloadType, index: number) =>
  defineHandler({
    handler_type_id: FIRST_ID + index,
    handler_type_name: `external_${emits}`,
    aliases: [],
    description: `Hands each packet to a program in any language that has joined, and emits the ${emits} that it answers (docs/links.md says how)`,
    inputs: [{ name: 'packet', accepts: [...PAYLOAD_TYPES] }],
    outputs: [{ name: emits, emits }],
    params,
    cost: { cpu_ms: 10, gpu_ms: 0, mem_mb: 100, out_bytes: emits === 'frame' ? 921_600 : 20_000 },
    host: 'own',
    load: () => import('./handler.js'),
  });

/** One type for each payload that may be emitted, because ports have their type before a session starts. */
export const manifests = PAYLOAD_TYPES.map(manifestOf);
