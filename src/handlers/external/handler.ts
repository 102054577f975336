/** A handler whose code is a program of its own: what the program answers becomes what the handler emits. */
import type { HandlerContext, ProcessingHandler, ProcessResult } from '../../handler-kit/define.js';
import { PacketDropped } from '../../handler-kit/define.js';
import { WorkerPool } from '../../handler-kit/worker-pool.js';
import { ChildProgram } from './child-program.js';
import type { ExternalParams } from './manifest.js';

export async function create(context: HandlerContext<ExternalParams>): Promise<ProcessingHandler> {
  const { params, delivery, clock, logger, url } = context;
  const start = params.command === '' ? null : context.allowedCommand(params.command);
  const pool = new WorkerPool({
    ...{ delivery, clock, logger },
    timeoutMs: params.timeout_ms,
    attempts: params.attempts,
    url: `${url}/worker`,
  });
  const child = start === null ? null : new ChildProgram({ start, logger });
  return {
    kind: 'processing',
    hasOwnTimeout: true,
    concurrency: params.in_flight,
    async process([packet]): Promise<ProcessResult> {
      const answer = await pool.process(packet!);
      if (answer.kind === 'drop') throw new PacketDropped(answer.reason, answer.detail ?? 'dropped by the program');
      if (answer.kind === 'skip') return { outputs: [null] };
      return { outputs: [answer.payload], metadata: answer.metadata };
    },
    ended: (end) => pool.end(end),
    note: () => joined(pool.note(), child?.problem),
    join: (upgrade) => pool.join(upgrade),
    close() {
      child?.close();
      pool.close();
    },
  };
}

const joined = (note: string | undefined, problem: string | undefined): string | undefined =>
  note === undefined || problem === undefined ? note : `${note}; ${problem}`;
