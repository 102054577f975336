/**
 * What the author of a handler writes: a manifest (light: ports, parameters, cost) and, loaded only in the subprocess
 * that runs it, the code. The runtime around it does the queues, joins, links, acknowledgements, resends and figures.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Static, TObject } from '#vendor/typebox.js';
import type { HandlerType } from '../contracts/handler-type.js';
import type { ModelChoice } from '../contracts/model-process.js';
import type {
  DataPacket,
  Delivery,
  DropPacket,
  DropReason,
  EndPacket,
  PacketMetadata,
  Payload,
} from '../contracts/packet.js';
import type { WorkerUpgrade } from '../links/worker-link.js';
import type { Clock } from '../std/clock.js';
import type { Logger } from '../std/logger.js';

/** What a handler is given when it is created. */
export interface HandlerContext<P> {
  readonly session_id: number;
  readonly handler_id: number;
  readonly handler_name: string;
  readonly node_id: number;
  readonly params: P;
  readonly delivery: Delivery;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Threads that one inference may use on this node. */
  readonly threads: number;
  /** How to use models that are loaded once on the node for several sessions; null: this handler loads its own. */
  readonly sharing: ModelSharing | null;
  /** Converted models and other things that may be made again are kept here. */
  readonly cacheDir: string;
  /** Where sinks of this session write; made by the runtime before the handler is created. */
  readonly outputDir: string;
  /** The absolute form of a path that a parameter named; throws SOURCE_FORBIDDEN outside what the operator allowed. */
  allowedPath(path: string): string;
  /** Where this handler is served at its node: `http://host:port/v1/sessions/ID/handlers/HANDLER`. */
  readonly url: string;
  /** How to start a command line that a parameter gave; throws COMMAND_FORBIDDEN when the operator did not allow it. */
  allowedCommand(command: string): CommandStart;
  /** The normal form of an address that a parameter named; throws SOURCE_FORBIDDEN outside what the operator allowed. */
  allowedUrl(url: string): string;
  /** Says what slow preparation (a model conversion) is doing. */
  progress(message: string): void;
}

/** What a handler with `share` gets in place of loading its models. */
export interface ModelSharing {
  /** Resolves when the model is loaded: the Unix socket of its process. Throws why it cannot be. */
  open(choice: ModelChoice): Promise<{ readonly socketPath: string; release(): void }>;
  /** Time left for the packet at work, ms; Infinity without a deadline. */
  leftMs(): number;
  /** CPU time that was spent for this handler in another process, ms: it counts as its own. */
  spent(cpuMs: number): void;
}

/** A command line that the operator allowed, without a shell. */
export interface CommandStart {
  readonly program: string;
  readonly args: readonly string[];
  /** All that it sees: the host's own, and where to join (`ORCHESTRATOR_NODE`, `_SESSION`, `_HANDLER`). */
  readonly environment: Readonly<Record<string, string>>;
}

/** Thrown by process() to say with which reason its packet is dropped, where `error` is not it. */
export class PacketDropped extends Error {
  constructor(
    readonly reason: DropReason,
    detail: string,
  ) {
    super(detail);
  }
}

export interface ProcessResult {
  /** One payload per output; null emits nothing there for this sequence. */
  readonly outputs: readonly (Payload | null)[];
  /** Added to the metadata that the output packets inherit from input 0. */
  readonly metadata?: PacketMetadata;
}

/** A handler with inputs; a sink has no outputs and returns `{ outputs: [] }`. */
export interface ProcessingHandler {
  readonly kind: 'processing';
  /** Calls of process() that may be open at a time, 1 when absent. They begin in order, and results leave in order. */
  readonly concurrency?: number;
  /** `packets[i]` came in at input i; all have the same sequence. A throw drops the packet with reason `error`. */
  process(packets: readonly DataPacket[]): Promise<ProcessResult> | ProcessResult;
  /**
   * True: once `process` has resolved, this handler holds nothing of its input packets any more. Memory that came over a
   * link is then read into again (unless an output lies in it), which saves what fresh memory costs: most of a raw frame's.
   */
  readonly letsGoOfInputs?: boolean;
  /** True: every process() ends within a bound of the handler's own, however long that is; nobody else watches it. */
  readonly hasOwnTimeout?: boolean;
  /** Sinks: a sequence ended before it came here. */
  dropped?(packet: DropPacket): void;
  /** The source has ended and everything before it has been processed. */
  ended?(end: EndPacket): Promise<void> | void;
  /**
   * Sinks with durable output: the highest sequence already recorded by an earlier run of this handler, -1 when none.
   * Under `all` packets up to it are settled without being processed, so that nothing is recorded twice.
   */
  readonly committed?: number;
  /** What users should know of it now, for example that it waits for a program; undefined when there is nothing to say. */
  note?(): string | undefined;
  /** A program asks to join, at `context.url` + `/worker`: takes its connection, or refuses it. */
  join?(upgrade: WorkerUpgrade): void;
  /** Pages at the node under /v1/sessions/:id/handlers/:handler/pages/NAME. */
  page?(name: string, request: IncomingMessage, response: ServerResponse): void;
  close(): Promise<void> | void;
}

export interface SourceControl {
  /** Sequence that the next emit will have; after a restart not 0, so that file sources continue where they were. */
  nextSequence(): number;
  /**
   * Hands out one packet. Under `all` it resolves when there is room again (backpressure); under `latest` at once.
   * `skip` in place of a payload: this sequence could not be read (corrupt picture) and is accounted as an error.
   */
  emit(payload: Payload | { readonly skip: string }, metadata: PacketMetadata): Promise<void>;
  /** Aborted when the session stops. */
  readonly signal: AbortSignal;
}

export interface SourceHandler {
  readonly kind: 'source';
  /** Runs until the stream ends (returns: the runtime emits the end) or the signal aborts. */
  run(control: SourceControl): Promise<void>;
  /** What users should know of it now, for example that its camera is away; undefined when there is nothing to say. */
  note?(): string | undefined;
  close(): Promise<void> | void;
}

export type Handler = ProcessingHandler | SourceHandler;

export interface HandlerModule<P> {
  /** Loads models, opens files; throwing fails init with the message. */
  create(context: HandlerContext<P>): Promise<Handler>;
  /** Goes once through what takes longer the first time; called in a host that waits for a session. */
  warm?(): Promise<void>;
}

export interface HandlerManifest extends HandlerType {
  /** Imports the code; called only in a handler host. */
  load(): Promise<HandlerModule<never>>;
}

/** Types a manifest: `load` must give code for exactly these parameters. */
export function defineHandler<S extends TObject>(
  manifest: Omit<HandlerType, 'params'> & {
    readonly params: S;
    load(): Promise<HandlerModule<Static<S>>>;
  },
): HandlerManifest {
  return manifest as unknown as HandlerManifest;
}
