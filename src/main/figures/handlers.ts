/** Handlers of a service outside a session: in this process, with what the runtime would hand to them. */
import { sep } from 'node:path';
import { OrchestratorError } from '../../contracts/errors.js';
import { parseParams } from '../../contracts/handler-type.js';
import type { DataPacket, Payload } from '../../contracts/packet.js';
import type { GraphHandler, Variant } from '../../contracts/service.js';
import { allowedPath } from '../../handler-kit/allowed-path.js';
import type { Handler, HandlerContext, HandlerManifest } from '../../handler-kit/define.js';
import { HANDLER_MANIFESTS } from '../../handlers/index.js';
import { systemClock } from '../../std/clock.js';
import { decodePicture } from '../../vision/images.js';

export interface HandlerRequest {
  readonly handler_type: number;
  readonly params: Readonly<Record<string, unknown>>;
  readonly cacheDir: string;
  /** Where a sink may write. */
  readonly outputDir: string;
  readonly threads: number;
  onProgress(message: string): void;
}

/** @throws HANDLER_TYPE_UNKNOWN for a type that is declared by file only, and what the handler refuses */
export async function createHandler(request: HandlerRequest): Promise<Handler> {
  const manifest = manifestOf(request.handler_type);
  return (await manifest.load()).create(contextOf(manifest, request) as HandlerContext<never>);
}

export function manifestOf(handlerType: number): HandlerManifest {
  const manifest = HANDLER_MANIFESTS.find((one) => one.handler_type_id === handlerType);
  if (manifest !== undefined) return manifest;
  throw new OrchestratorError('HANDLER_TYPE_UNKNOWN', `handler type ${handlerType} is not in this build`);
}

function contextOf(manifest: HandlerManifest, request: HandlerRequest): HandlerContext<unknown> {
  const name = manifest.handler_type_name;
  const note = (_context: object, message: string) => request.onProgress(message);
  return {
    session_id: 0,
    handler_id: 0,
    handler_name: name,
    node_id: 0,
    params: parseParams(manifest, { ...request.params }, name).params,
    delivery: 'all',
    clock: systemClock(),
    logger: { debug() {}, info() {}, warn: note, error: note },
    threads: request.threads,
    sharing: null,
    cacheDir: request.cacheDir,
    outputDir: request.outputDir,
    url: 'http://127.0.0.1/',
    allowedPath: (path) => allowedPath(path, [sep]),
    allowedUrl: (url) => url,
    allowedCommand(command) {
      throw new OrchestratorError('COMMAND_FORBIDDEN', `${command}: programs are not measured`);
    },
    progress: request.onProgress,
  };
}

export const isSource = ({ handler_type }: GraphHandler): boolean => manifestOf(handler_type).inputs.length === 0;

/** handler_id and output feeding each input of a handler, by input. */
export function feedersOf(
  variant: Variant,
  handlerId: number,
): { readonly handler: number; readonly output: number }[] {
  return variant.links
    .filter((link) => link.target_handler === handlerId)
    .sort((one, other) => (one.target_input ?? 0) - (other.target_input ?? 0))
    .map((link) => ({ handler: link.source_handler, output: link.source_output ?? 0 }));
}

/** What a handler gets whose input nothing feeds, because pictures are posted to it. */
export async function postedPicture({ handler_type }: GraphHandler, file: Buffer): Promise<Payload> {
  const { inputs } = manifestOf(handler_type);
  return inputs[0]!.accepts.includes('jpeg') ? { type: 'jpeg', data: file } : decodePicture(file);
}

export function packetOf(payload: Payload, sequence: number): DataPacket {
  return { kind: 'data', sequence, timestamp: Date.now() / 1000, deadline: 0, payload, metadata: {} };
}
