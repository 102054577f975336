/** Handlers of the chain bench: a source of empty packets, work that takes a fixed time, and a sink that counts. */

import type { DataPacket } from '#src/contracts/packet.js';
import type { SourceControl } from '#src/handler-kit/define.js';
import { defineHandler, type HandlerContext, type ProcessingHandler } from '#src/handler-kit/define.js';
import Type from '#vendor/typebox.js';

export const TICKER = 900;
export const WORK = 901;
export const COUNTER = 902;

/** What the sink's page `mark` tells, and forgets. */
export interface Mark {
  readonly atMs: number;
  readonly packets: number;
  readonly agesMs: readonly number[];
}

/** Ages kept between two marks. */
const AGES_MAX = 100_000;

const EMPTY_PACKET = { type: 'bytes', data: Buffer.alloc(64) } as const;
const common = { aliases: [], cost: { cpu_ms: 1, gpu_ms: 0, mem_mb: 1, out_bytes: 64 }, host: 'own' } as const;
const bytesOut = [{ name: 'out', emits: 'bytes' }] as const;

const ticker = defineHandler({
  ...common,
  ...{ handler_type_id: TICKER, handler_type_name: 'bench_ticker', description: 'Empty packets by the clock' },
  params: Type.Object({ fps: Type.Number({ default: 30 }) }),
  inputs: [],
  outputs: [...bytesOut],
  load: async () => ({
    create: async ({ params, clock }) => ({
      kind: 'source',
      async run(control: SourceControl) {
        for (let dueMs = clock.monotonicMs(); !control.signal.aborted; dueMs += 1000 / params.fps) {
          await new Promise((resolve) => setTimeout(resolve, dueMs - clock.monotonicMs()));
          await control.emit(EMPTY_PACKET, {});
        }
      },
      close() {},
    }),
  }),
});

const work = defineHandler({
  ...common,
  ...{ handler_type_id: WORK, handler_type_name: 'bench_work', description: 'Keeps a core busy for a fixed time' },
  params: Type.Object({ ms: Type.Number({ default: 1 }) }),
  inputs: [{ name: 'in', accepts: ['bytes'] }],
  outputs: [...bytesOut],
  load: async () => ({
    create: async ({ params }) => ({
      kind: 'processing',
      process() {
        const endMs = performance.now() + params.ms;
        while (performance.now() < endMs) {
          // Busy, as inference is.
        }
        return { outputs: [EMPTY_PACKET] };
      },
      close() {},
    }),
  }),
});

function count({ clock }: HandlerContext<object>): ProcessingHandler {
  let packets = 0;
  let agesMs: number[] = [];
  return {
    kind: 'processing',
    process([packet]: readonly DataPacket[]) {
      packets += 1;
      if (agesMs.length < AGES_MAX) agesMs.push((clock.now() - packet!.timestamp) * 1000);
      return { outputs: [] };
    },
    page(_name, _request, response) {
      const mark: Mark = { atMs: clock.monotonicMs(), packets, agesMs };
      packets = 0;
      agesMs = [];
      response.end(JSON.stringify(mark));
    },
    close() {},
  };
}

const counter = defineHandler({
  ...common,
  ...{ handler_type_id: COUNTER, handler_type_name: 'bench_counter', description: 'Counts what comes, and its age' },
  params: Type.Object({}),
  inputs: [{ name: 'in', accepts: ['bytes', 'frame'] }],
  outputs: [],
  load: async () => ({ create: async (context) => count(context) }),
});

export const BENCH_MANIFESTS = [ticker, work, counter];
