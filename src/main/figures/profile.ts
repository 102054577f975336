/**
 * `profile`: what each handler of a service costs on this node, measured one by one on the sample pictures, each in a process
 * of its own that gets what the handlers before it put out. Figures are brought to a node of speed 1 for the service
 * file, from which the allocator reads them; running nodes report their own besides.
 */
import { fork } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { OrchestratorError } from '../../contracts/errors.js';
import { profileKey } from '../../contracts/plan.js';
import type { GraphHandler, Service, Variant } from '../../contracts/service.js';
import { listSourceFiles } from '../../handlers/capture/files.js';
import { measureSpeed } from '../../node/calibration.js';
import { FRAMES_ENVIRONMENT } from '../../node/index.js';
import { compiledEntry } from '../../std/compiled-entry.js';
import { decodePicture } from '../../vision/images.js';
import { samplePicturesDir } from '../package-facts.js';
import type { BenchAnswer, BenchRequest, BenchResult } from './handler-bench.js';
import { feedersOf, isSource, postedPicture } from './handlers.js';

export interface ProfileOptions {
  readonly services: readonly Service[];
  /** Measured calls of each handler. */
  readonly calls: number;
  /** Of one inference. */
  readonly threads: number;
  readonly cacheDir: string;
  /** Speed of one core; measured when not given. */
  readonly speed?: number;
  onProgress(message: string): void;
}

export interface HandlerFigures {
  readonly service: string;
  readonly handler: string;
  readonly handler_type: number;
  readonly handler_type_name: string;
  readonly alternative: string;
  /** Variants whose handler was measured so. */
  readonly variants: readonly string[];
  readonly profile_key: string;
  /** Wall time of one packet on this node, ms. */
  readonly service_ms: number;
  /** CPU time of one packet, all threads, on this node and brought to speed 1. */
  readonly cpu_ms: number;
  readonly cpu_ms_speed_1: number;
  readonly mem_mb: number;
  readonly out_bytes: number;
}

export interface Profiles {
  readonly speed: number;
  readonly threads: number;
  readonly handlers: readonly HandlerFigures[];
}

/** Of the sample pictures: with crowds, close-ups and dark rooms among them. */
const PICTURES = '*.jpg';
/** Loading a model may convert it first. */
const BENCH_MS_MAX = 300_000;

export async function profileServices(options: ProfileOptions): Promise<Profiles> {
  const speed = options.speed ?? measureSpeed();
  const outputDir = mkdtempSync(join(tmpdir(), 'orchestrator-profile-'));
  try {
    const handlers: HandlerFigures[] = [];
    for (const service of options.services)
      handlers.push(...(await profileService(service, speed, outputDir, options)));
    return { speed, threads: options.threads, handlers };
  } finally {
    rmSync(outputDir, { recursive: true, force: true });
  }
}

interface Measured {
  readonly result: BenchResult;
  /** What was measured on what: handlers of two variants that are alike down to the source are measured once. */
  readonly identity: string;
}

async function profileService(
  service: Service,
  speed: number,
  outputDir: string,
  options: ProfileOptions,
): Promise<HandlerFigures[]> {
  const source = join(samplePicturesDir(), PICTURES);
  const files = await Promise.all(listSourceFiles(source, (path) => path).map(({ path }) => readFile(path)));
  const known = new Map<string, Measured>();
  const rows = new Map<string, HandlerFigures>();
  for (const variant of service.variants) {
    const made = new Map<number, Measured>();
    for (const id of variant.order) {
      const handler = variant.handlers.find((one) => one.handler_id === id)!;
      const identity = identityOf(handler, variant, made);
      const measured = known.get(identity) ?? {
        identity,
        result: await measureHandler(handler, variant, { made, files, source, outputDir, ...options }),
      };
      known.set(identity, measured);
      made.set(id, measured);
      merge(rows, rowOf({ service, variant, handler, speed }, measured));
    }
  }
  return [...rows.values()];
}

function identityOf(handler: GraphHandler, variant: Variant, made: ReadonlyMap<number, Measured>): string {
  const feeders = feedersOf(variant, handler.handler_id).map((one) => [one.output, made.get(one.handler)!.identity]);
  return JSON.stringify([handler.handler_type, handler.alternatives[0]!.params, feeders]);
}

interface Bench extends ProfileOptions {
  readonly made: ReadonlyMap<number, Measured>;
  readonly files: readonly Buffer[];
  readonly source: string;
  readonly outputDir: string;
}

async function measureHandler(handler: GraphHandler, variant: Variant, bench: Bench): Promise<BenchResult> {
  const { calls, threads, cacheDir, outputDir, files, onProgress } = bench;
  const { handler_name, handler_type } = handler;
  const { name, params } = handler.alternatives[0]!;
  onProgress(`${variant.variant_name}: ${handler_name} (${name})`);
  const request = { handler_type, calls, threads, cacheDir, outputDir };
  if (isSource(handler)) {
    const asked = { ...params, source: bench.source, fps: 0, loop: true };
    // What the source itself hands on is measured; what follows gets every picture.
    const result = await inOwnProcess({ ...request, params: asked, frames: [] }, onProgress);
    return { ...result, outputs: await Promise.all(files.map(async (file) => [await decodePicture(file)])) };
  }
  const feeders = feedersOf(variant, handler.handler_id);
  const fedFor = (index: number) =>
    feeders.map(({ handler: from, output }) => bench.made.get(from)!.result.outputs[index]![output]!);
  const inputs = await Promise.all(
    files.map(async (file, index) => (feeders.length > 0 ? fedFor(index) : [await postedPicture(handler, file)])),
  );
  return inOwnProcess({ ...request, params, frames: inputs }, onProgress);
}

function inOwnProcess(request: BenchRequest, onProgress: (message: string) => void): Promise<BenchResult> {
  const child = fork(compiledEntry(import.meta.url, './handler-bench.js'), {
    serialization: 'advanced',
    execArgv: ['--expose-gc'],
    // As in a handler host.
    env: { ...process.env, ...FRAMES_ENVIRONMENT },
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    timeout: BENCH_MS_MAX,
    killSignal: 'SIGKILL',
  });
  return new Promise<BenchResult>((resolve, reject) => {
    const fail = (why: string) =>
      reject(
        new OrchestratorError('HANDLER_FAILED', `handler type ${request.handler_type} cannot be measured: ${why}`),
      );
    child.on('message', (answer: BenchAnswer) => {
      if ('progress' in answer) onProgress(answer.progress);
      else if ('error' in answer) fail(answer.error);
      else resolve(answer.result);
    });
    child.once('error', (error) => fail(error.message));
    child.once('exit', (code, signal) => fail(`its process ended (${signal ?? `exit code ${code}`})`));
    child.send(request);
  });
}

interface Place {
  readonly service: Service;
  readonly variant: Variant;
  readonly handler: GraphHandler;
  readonly speed: number;
}

function rowOf({ service, variant, handler, speed }: Place, { result }: Measured): HandlerFigures {
  const { name, params } = handler.alternatives[0]!;
  return {
    service: service.service_name,
    handler: handler.handler_name,
    handler_type: handler.handler_type,
    handler_type_name: handler.handler_type_name,
    alternative: name,
    variants: [variant.variant_name],
    profile_key: profileKey(params),
    service_ms: result.service_ms,
    cpu_ms: result.cpu_ms,
    cpu_ms_speed_1: result.cpu_ms * speed,
    mem_mb: result.mem_mb,
    out_bytes: result.out_bytes,
  };
}

/** One row per handler and alternative: what it needs in the variant where it needs most. */
function merge(rows: Map<string, HandlerFigures>, row: HandlerFigures): void {
  const key = `${row.handler}\u0000${row.alternative}`;
  const other = rows.get(key);
  if (other === undefined) {
    rows.set(key, row);
    return;
  }
  const more = row.cpu_ms > other.cpu_ms ? row : other;
  rows.set(key, { ...more, variants: [...other.variants, ...row.variants] });
}
