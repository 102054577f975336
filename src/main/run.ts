/**
 * `run`: one service over a set of pictures, on the real system in a temporary directory (a coordinator and one node),
 * lossless, until the end of the stream. Invariant: when it returns or throws, no process and no file of it is left.
 */
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, extname, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { CoordinatorClient } from '../client/index.js';
import { OrchestratorError, toOrchestratorError } from '../contracts/errors.js';
import type { BoxRecord } from '../contracts/packet.js';
import type { SessionPlan } from '../contracts/plan.js';
import { listSourceFiles, type SourceFile } from '../handlers/capture/files.js';
import { isVideoName } from '../handlers/capture/source-kind.js';
import { decodePicture } from '../vision/images.js';
import { BoxesJournal, findOutput, type JournalLine } from './boxes-journal.js';
import { type LocalCluster, startCluster } from './cluster.js';
import { SERVICES_DIR } from './package-facts.js';
import { findService, type HandlerParams, paramsFor } from './session-request.js';

export interface RunOptions {
  readonly service: string | number;
  /** Files, patterns or directories, relative to the working directory. */
  readonly inputs: readonly string[];
  readonly variant?: string;
  /** Directory with one folder of pictures per person. */
  readonly gallery?: string;
  readonly embeddings?: boolean;
  /** Annotated pictures are copied here. */
  readonly output?: string;
  readonly params?: HandlerParams;
  readonly servicesDir?: string;
  readonly token: string | null;
  readonly signal: AbortSignal;
  onProgress(message: string): void;
  onPlan?(plan: SessionPlan): void;
  onRecord(record: RunRecord, total: number): void;
}

export type RunRecord =
  | {
      readonly input: string;
      readonly sequence: number;
      readonly boxes: readonly BoxRecord[];
      readonly latency_ms: number;
    }
  | { readonly input: string; readonly sequence: number; readonly error: string };

export interface RunSummary {
  readonly pictures: number;
  readonly failed: number;
  /** From the first frame to the last record, ms. */
  readonly elapsedMs: number;
}

const NODE = { node_id: 0, node_name: 'local', node_type: 'client' } as const;

/** Asked of the one node; it is not a limit: pictures are taken as fast as they are worked on. */
const OBJECTIVE = { fps: 0.1 };

const POLL_MS = 40;
/** Between two looks at the state of the session, ms. */
const STATE_POLL_MS = 400;

export async function runService(options: RunOptions): Promise<RunSummary> {
  const video = options.inputs.find(isVideoName);
  if (video !== undefined) {
    const message = `${video} is a video; run takes pictures: start a session with --source ${video}`;
    throw new OrchestratorError('USAGE', message);
  }
  const pictures = options.inputs.flatMap((input) => listSourceFiles(input, (path) => resolve(path)));
  const dataDir = mkdtempSync(join(tmpdir(), 'orchestrator-run-'));
  let cluster: LocalCluster | null = null;
  try {
    options.onProgress('starting a coordinator and a node');
    cluster = await startCluster({
      dataDir,
      nodes: [NODE],
      servicesDir: resolve(options.servicesDir ?? SERVICES_DIR),
      allow: allowedDirectories(options, pictures, dataDir),
      collector: false,
      token: options.token,
    });
    options.signal.throwIfAborted();
    return await runSession(cluster, pictures, dataDir, options);
  } finally {
    await cluster?.close();
    rmSync(dataDir, { recursive: true, force: true });
  }
}

function allowedDirectories({ gallery }: RunOptions, pictures: readonly SourceFile[], dataDir: string): string[] {
  const directories = new Set(pictures.map((picture) => dirname(resolve(picture.path))));
  return [...directories, dataDir, ...(gallery === undefined ? [] : [resolve(gallery)])];
}

async function runSession(
  { coordinator, nodes }: LocalCluster,
  pictures: readonly SourceFile[],
  dataDir: string,
  options: RunOptions,
): Promise<RunSummary> {
  const service = findService(await coordinator.services(), options.service);
  const recognition = {
    ...(options.gallery === undefined ? {} : { classifier: resolve(options.gallery) }),
    ...(options.embeddings === true ? { embeddings: true } : {}),
  };
  const byType = {
    capture: { fps: 0, loop: false },
    render: { write_frames: options.output !== undefined, frames_max: 0, boxes: true },
    recognize_face: recognition,
    dlib_align_recognize: recognition,
  };
  const { source, paths } = sourceOf(pictures, dataDir);
  options.onProgress('planning');
  const { session_id, plan } = await coordinator.createSession({
    service: service.service_id,
    source,
    source_node: NODE.node_id,
    objective: OBJECTIVE,
    delivery: 'all',
    variant: options.variant,
    params: paramsFor(service, byType, options.params),
  });
  options.onPlan?.(plan);
  options.onProgress('loading models (the first time they are converted)');
  const outputsDir = join(nodes[0]!.dataDir, 'outputs');
  const summary = await follow({ coordinator, sessionId: session_id!, pictures, paths, plan, outputsDir, options });
  if (options.output !== undefined) copyFrames(outputsDir, options.output, pictures);
  return summary;
}

/** One file is named as it is; several become links in one directory, numbered in their order. */
function sourceOf(pictures: readonly SourceFile[], dataDir: string): { source: string; paths: string[] } {
  const [only] = pictures;
  if (only !== undefined && pictures.length === 1) return { source: resolve(only.path), paths: [resolve(only.path)] };
  const directory = join(dataDir, 'input');
  mkdirSync(directory);
  const paths = pictures.map((picture, index) => {
    const link = join(directory, `${String(index).padStart(7, '0')}${extname(picture.path)}`);
    symlinkSync(resolve(picture.path), link);
    return link;
  });
  return { source: directory, paths };
}

interface FollowOptions {
  readonly coordinator: CoordinatorClient;
  readonly sessionId: number;
  readonly pictures: readonly SourceFile[];
  /** What capture calls them. */
  readonly paths: readonly string[];
  readonly plan: SessionPlan;
  readonly outputsDir: string;
  readonly options: RunOptions;
}

/** Until every picture has its line. */
async function follow(given: FollowOptions): Promise<RunSummary> {
  const { coordinator, sessionId, pictures, outputsDir, options } = given;
  let journal: BoxesJournal | null = null;
  let done = 0;
  let failed = 0;
  let startedMs = 0;
  let askedMs = performance.now();
  while (done < pictures.length) {
    options.signal.throwIfAborted();
    const file = journal === null ? findOutput(outputsDir, 'boxes.jsonl') : null;
    if (file !== null) journal = new BoxesJournal(file);
    for (const line of journal?.read() ?? []) {
      if (startedMs === 0) startedMs = performance.now();
      const record = await recordOf(line, given);
      done += 1;
      if ('error' in record) failed += 1;
      options.onRecord(record, pictures.length);
    }
    if (performance.now() - askedMs > STATE_POLL_MS) {
      askedMs = performance.now();
      const session = await coordinator.session(sessionId);
      if (session.observed === 'failed' || session.observed === 'suspended') {
        const message = `session ${session.observed}: ${session.problem ?? 'no reason was given'}`;
        throw new OrchestratorError('HANDLER_FAILED', message);
      }
      if (done === 0 && session.observed !== 'preparing') options.onProgress(`${session.observed}`);
    }
    await sleep(POLL_MS, undefined, { signal: options.signal });
  }
  return { pictures: done, failed, elapsedMs: performance.now() - startedMs };
}

async function recordOf(line: JournalLine, { pictures, paths, plan }: FollowOptions): Promise<RunRecord> {
  const { sequence } = line;
  const picture = pictures[sequence];
  const input = picture?.name ?? `sequence ${sequence}`;
  if ('boxes' in line) return { input, sequence, boxes: line.boxes, latency_ms: line.latency_ms };
  const handler = plan.handlers.find((one) => one.handler_id === line.handler_id);
  const told = line.detail?.replaceAll(paths[sequence] ?? input, input);
  const reason = told ?? (picture === undefined ? null : await unreadable(picture.path));
  const where = `${line.dropped} at ${handler?.handler_name ?? line.handler_id}`;
  return { input, sequence, error: reason === null ? where : `${where}: ${reason}` };
}

/** Why a picture cannot be read; null when it can. The ledger says only where it ended. */
async function unreadable(path: string): Promise<string | null> {
  try {
    await decodePicture(readFileSync(path));
    return null;
  } catch (error) {
    const { code, message } = toOrchestratorError(error);
    return code === 'INTERNAL' ? message : `${code} ${message}`;
  }
}

/** Under the names of the pictures; a name that comes twice gets its sequence in front. */
function copyFrames(outputsDir: string, output: string, pictures: readonly SourceFile[]): void {
  mkdirSync(output, { recursive: true });
  const journal = findOutput(outputsDir, 'boxes.jsonl');
  if (journal === null) return;
  const taken = new Set<string>();
  pictures.forEach((picture, sequence) => {
    const number = String(sequence).padStart(6, '0');
    const frame = join(dirname(journal), `${number}.jpg`);
    if (!existsSync(frame)) return;
    const base = `${basename(picture.path, extname(picture.path))}.jpg`;
    const name = taken.has(base) ? `${number}-${base}` : base;
    taken.add(name);
    copyFileSync(frame, join(output, name));
  });
}
