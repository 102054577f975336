/** What the runtime would hand to a handler, for tests: a temporary directory, one allowed root, a log that can be read. */
import { mkdirSync, mkdtempSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join, resolve, sep } from 'node:path';
import { OrchestratorError } from '../contracts/errors.js';
import { parseParams } from '../contracts/handler-type.js';
import type { DataPacket, Delivery, PacketMetadata, Payload } from '../contracts/packet.js';
import type {
  Handler,
  HandlerContext,
  HandlerManifest,
  ProcessingHandler,
  SourceHandler,
} from '../handler-kit/define.js';
import { systemClock } from '../std/clock.js';

/** Pictures with 3, 3, 3, 4, 5 and 4 faces (see FACES_OF_SAMPLES), 1 to 6. */
export function samplePath(number: number): string {
  return join(SAMPLE_DIR, `sample${number}.jpg`);
}

export const SAMPLE_DIR = join(
  dirname(createRequire(import.meta.url).resolve('@vladmandic/face-api/package.json')),
  'demo',
);
export const FACES_OF_SAMPLES = [3, 3, 3, 4, 5, 4] as const;

export interface TestContext extends HandlerContext<never> {
  readonly warnings: string[];
}

export interface TestContextOptions {
  readonly delivery?: Delivery;
  readonly outputDir?: string;
  /** Only paths below it are allowed; everything when absent. */
  readonly allow?: string;
  readonly cacheDir?: string;
}

/** Converted models are shared by all tests of a machine. */
const CACHE_DIR = join(tmpdir(), 'orchestrator-test-models');

export function testContext(
  manifest: HandlerManifest,
  params: Record<string, unknown> = {},
  { delivery = 'all', outputDir, allow = sep, cacheDir = CACHE_DIR }: TestContextOptions = {},
): TestContext {
  mkdirSync(cacheDir, { recursive: true });
  const warnings: string[] = [];
  const note = (_context: object, message: string) => void warnings.push(message);
  return {
    session_id: 1,
    handler_id: 5,
    handler_name: manifest.handler_type_name,
    node_id: 0,
    params: parseParams(manifest, params, 'test').params as never,
    delivery,
    clock: systemClock(),
    logger: { debug() {}, info() {}, warn: note, error: note },
    threads: 1,
    cacheDir,
    sharing: null,
    outputDir: outputDir ?? mkdtempSync(join(tmpdir(), 'orchestrator-out-')),
    allowedPath(path) {
      const absolute = resolve(path);
      if (absolute === allow || absolute.startsWith(allow.endsWith(sep) ? allow : allow + sep)) return absolute;
      throw new OrchestratorError('SOURCE_FORBIDDEN', `${absolute} lies outside ${allow}`);
    },
    url: 'http://127.0.0.1:9000/v1/sessions/1/handlers/5',
    allowedCommand(command) {
      throw new OrchestratorError('COMMAND_FORBIDDEN', `${command} is not allowed in this test`);
    },
    allowedUrl(url) {
      if (allow === sep) return url;
      throw new OrchestratorError('SOURCE_FORBIDDEN', `${url} is not allowed`);
    },
    progress() {},
    warnings,
  };
}

async function create(manifest: HandlerManifest, context: TestContext): Promise<Handler> {
  return (await manifest.load()).create(context);
}

export async function createProcessing(
  manifest: HandlerManifest,
  params?: Record<string, unknown>,
  options?: TestContextOptions,
): Promise<ProcessingHandler & { readonly warnings: string[] }> {
  const context = testContext(manifest, params, options);
  const handler = await create(manifest, context);
  if (handler.kind !== 'processing') throw new TypeError(`${manifest.handler_type_name} is a source`);
  return Object.assign(handler, { warnings: context.warnings });
}

export async function createSource(
  manifest: HandlerManifest,
  params?: Record<string, unknown>,
  options?: TestContextOptions,
): Promise<SourceHandler> {
  const handler = await create(manifest, testContext(manifest, params, options));
  if (handler.kind !== 'source') throw new TypeError(`${manifest.handler_type_name} is no source`);
  return handler;
}

export function packetOf(payload: Payload, sequence = 0, metadata: PacketMetadata = {}): DataPacket {
  return { kind: 'data', sequence, timestamp: Date.now() / 1000, deadline: 0, payload, metadata };
}

/** The payload at output 0 of one processed set of inputs. */
export async function outputOf<T extends Payload['type']>(
  handler: ProcessingHandler,
  payloads: readonly Payload[],
  type: T,
): Promise<Extract<Payload, { type: T }>> {
  const { outputs } = await handler.process(payloads.map((payload) => packetOf(payload)));
  const payload = outputs[0];
  if (payload?.type !== type) throw new TypeError(`emitted ${payload?.type ?? 'nothing'}, expected ${type}`);
  return payload as Extract<Payload, { type: T }>;
}
