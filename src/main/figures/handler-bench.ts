/**
 * Entry of a process that measures one handler: nothing else runs in it, so that CPU time and memory are the handler's.
 * It gets one request, tells what it measured and what the handler put out, and ends.
 */
import type { Payload } from '../../contracts/packet.js';
import type { SourceHandler } from '../../handler-kit/define.js';
import { payloadBytes } from '../../links/codec.js';
import { createHandler, type HandlerRequest, manifestOf, packetOf } from './handlers.js';

export interface BenchRequest extends Omit<HandlerRequest, 'onProgress'> {
  /** Input packets of each frame; empty for a source. */
  readonly frames: readonly (readonly Payload[])[];
  /** Calls that are measured; one pass over the frames before them warms up. */
  readonly calls: number;
}

export interface BenchResult {
  readonly service_ms: number;
  readonly cpu_ms: number;
  /** Resident memory of its process without the packets that are kept here; of a shared host, what it adds to it; MiB. */
  readonly mem_mb: number;
  readonly out_bytes: number;
  /** What came out for each of the frames. */
  readonly outputs: readonly (readonly (Payload | null)[])[];
}

export type BenchAnswer = { readonly result: BenchResult } | { readonly error: string } | { readonly progress: string };

/** Of a host before anything is loaded, bytes. */
const emptyBytes = process.memoryUsage.rss();

const sizeOf = (payloads: readonly (Payload | null)[]) =>
  payloads.reduce((sum, payload) => sum + (payload === null ? 0 : payloadBytes(payload)), 0);

/** Processes one more frame; resolves with what it put out. */
type Step = (sequence: number) => Promise<readonly (Payload | null)[]>;

async function measure(step: Step, frames: number, calls: number, baseBytes: number): Promise<BenchResult> {
  const outputs: (readonly (Payload | null)[])[] = [];
  for (let frame = 0; frame < frames; frame++) outputs.push(await step(frame));
  const cpu = process.cpuUsage();
  const startMs = performance.now();
  for (let call = 0; call < calls; call++) await step(frames + call);
  const service_ms = (performance.now() - startMs) / calls;
  const { user, system } = process.cpuUsage(cpu);
  const bytes = sizeOf(outputs.flat());
  globalThis.gc?.();
  return {
    service_ms,
    cpu_ms: (user + system) / 1000 / calls,
    mem_mb: Math.max(1, (process.memoryUsage.rss() - bytes - baseBytes) / 2 ** 20),
    out_bytes: Math.round(bytes / frames),
    outputs,
  };
}

/** Takes frames from a source one by one: it waits in `emit` until the next is asked for. */
function pull(source: SourceHandler): { step: Step; stop: () => void } {
  const abort = new AbortController();
  const waiting: ((payload: Payload) => void)[] = [];
  let release = () => {};
  let sequence = 0;
  const run = source.run({
    signal: abort.signal,
    nextSequence: () => sequence,
    async emit(payload) {
      sequence += 1;
      if ('skip' in payload) throw new Error(payload.skip);
      const next = new Promise<void>((resolve) => {
        release = resolve;
      });
      waiting.shift()?.(payload);
      await next;
    },
  });
  run.catch(() => {});
  return {
    async step() {
      const payload = new Promise<Payload>((resolve) => waiting.push(resolve));
      release();
      const ended = run.then(() => {
        throw new Error('the source ended before it was measured');
      });
      return [await Promise.race([payload, ended])];
    },
    stop() {
      abort.abort();
      release();
    },
  };
}

async function bench({ frames, calls, ...request }: BenchRequest): Promise<BenchResult> {
  // The packets that came with the request lie in memory already.
  const shared = manifestOf(request.handler_type).host === 'shared';
  const baseBytes = process.memoryUsage.rss() - (shared ? 0 : emptyBytes);
  const handler = await createHandler({ ...request, onProgress: (progress) => answer({ progress }) });
  if (handler.kind === 'source') {
    const { step, stop } = pull(handler);
    const result = await measure(step, 1, calls, baseBytes);
    stop();
    return result;
  }
  const step: Step = async (sequence) => {
    const inputs = frames[sequence % frames.length]!.map((payload) => packetOf(payload, sequence));
    return (await handler.process(inputs)).outputs;
  };
  return measure(step, frames.length, calls, baseBytes);
}

const answer = (message: BenchAnswer) => process.send!(message);

process.once('message', (request: BenchRequest) => {
  bench(request)
    .then((result): BenchAnswer => ({ result }))
    .catch((error: unknown): BenchAnswer => ({ error: error instanceof Error ? error.message : String(error) }))
    .then((message) => process.send!(message, () => process.exit(0)));
});
