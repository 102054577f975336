/**
 * Video as a source. A file is read frame by frame like a numbered sequence: frame n has sequence n, also after a restart
 * (the frames before it are read again and thrown away), and its end is the end of the stream. A stream or camera is live:
 * what cannot be taken in time is lost to it, and when it breaks off it is tried again, with growing pauses, for as long
 * as the session runs.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { HandlerContext, SourceControl, SourceHandler } from '../../handler-kit/define.js';
import { Backoff } from '../../std/backoff.js';
import { probeVideo, type ReadOptions, readVideo, type VideoFacts, type VideoSource } from '../../vision/ffmpeg.js';
import type { CaptureParams } from './manifest.js';
import { type Pacer, pacer } from './pace.js';

/** First and longest pause between two tries of a stream, ms. */
const RETRY_MS = { baseMs: 500, maxMs: 10_000 } as const;
/** A file that takes longer for its next bytes than this does not come from a disk that works, ms. */
const FILE_STALL_MS = 60_000;

export async function createVideo(context: HandlerContext<CaptureParams>, source: VideoSource): Promise<SourceHandler> {
  const facts = await factsOf(context, source);
  context.logger.debug({ source: source.address, ...facts }, 'video source');
  if (facts !== null) return { kind: 'source', run: (control) => runFile(context, source, facts, control), close() {} };
  const live = new LiveSource(context, source);
  return { kind: 'source', run: (control) => live.run(control), note: () => live.note(), close() {} };
}

/** null for what is live. A stream that is not there yet is taken for live, too: it is waited for. */
async function factsOf(context: HandlerContext<CaptureParams>, source: VideoSource): Promise<VideoFacts | null> {
  if (source.kind === 'file') return probeVideo(source);
  if (source.kind === 'camera' || source.address.startsWith('rtsp')) return null;
  try {
    const facts = await probeVideo(source);
    return facts.durationS === null ? null : facts;
  } catch (error) {
    if ((error as { code?: string }).code === 'FFMPEG_MISSING') throw error;
    context.logger.warn({}, `${(error as Error).message}; it is tried again`);
    return null;
  }
}

function readOptions(
  { params }: HandlerContext<CaptureParams>,
  source: VideoSource,
  signal: AbortSignal,
): Omit<ReadOptions, 'fps' | 'loop' | 'stallMs'> {
  return { source, width: params.width, height: params.height, signal };
}

async function runFile(
  context: HandlerContext<CaptureParams>,
  source: VideoSource,
  facts: VideoFacts,
  control: SourceControl,
): Promise<void> {
  const { params, logger } = context;
  const thinned = params.fps > 0 && params.fps < facts.fps;
  const pace: Pacer = pacer(params.fps === 0 ? 0 : Math.min(params.fps, facts.fps), context.clock, control.signal);
  const metadata = { input: String(params.source) };
  const options = { fps: thinned ? params.fps : null, loop: params.loop, stallMs: FILE_STALL_MS };
  const frames = readVideo({ ...readOptions(context, source, control.signal), ...options });
  let toSkip = control.nextSequence();
  for (;;) {
    const { done, value } = await frames.next();
    if (control.signal.aborted) {
      await frames.return(null);
      return;
    }
    if (done) {
      if (value === null) return;
      logger.warn({ source: params.source }, `video ended early: ${value}`);
      await control.emit({ skip: `${params.source}: ${value}` }, metadata);
      return;
    }
    if (toSkip > 0) toSkip -= 1;
    else {
      await pace();
      await control.emit(value, metadata);
    }
  }
}

/** Why a stream is away, and when it is tried again. */
interface Outage {
  readonly reason: string;
  readonly attempt: number;
  /** Monotonic ms. */
  readonly retryMs: number;
}

class LiveSource {
  readonly #context: HandlerContext<CaptureParams>;
  readonly #source: VideoSource;
  readonly #backoff = new Backoff(RETRY_MS);
  /** Null from the first frame on. */
  #outage: Outage | null = null;

  constructor(context: HandlerContext<CaptureParams>, source: VideoSource) {
    this.#context = context;
    this.#source = source;
  }

  async run(control: SourceControl): Promise<void> {
    const { params, logger, clock } = this.#context;
    const { signal } = control;
    while (!signal.aborted) {
      const reason = await followLive(this.#context, this.#source, control, () => this.#came());
      if (signal.aborted) return;
      const pauseMs = this.#backoff.nextMs();
      const retryMs = clock.monotonicMs() + pauseMs;
      this.#outage = { reason: reason ?? 'it ended', attempt: this.#backoff.attempt, retryMs };
      logger.warn({ source: params.source }, `source ${params.source} ${this.note()}`);
      await sleep(pauseMs, undefined, { signal }).catch(() => {});
    }
  }

  /** `broke off (it ended); retry 4 in 8 s` */
  note(): string | undefined {
    if (this.#outage === null) return undefined;
    const { reason, attempt, retryMs } = this.#outage;
    const leftS = Math.ceil((retryMs - this.#context.clock.monotonicMs()) / 1000);
    return `broke off (${reason}); ${leftS > 0 ? `retry ${attempt} in ${leftS} s` : `retry ${attempt} now`}`;
  }

  #came(): void {
    this.#backoff.reset();
    this.#outage = null;
  }
}

/** Until the stream breaks off; the reason. A frame that comes sooner than the wanted rate allows is left out. */
async function followLive(
  context: HandlerContext<CaptureParams>,
  source: VideoSource,
  control: SourceControl,
  onFrame: () => void,
): Promise<string | null> {
  const { params, clock } = context;
  const stepMs = params.fps > 0 ? 1000 / params.fps : 0;
  const options = { fps: null, loop: false, stallMs: params.stall_s * 1000 };
  const frames = readVideo({ ...readOptions(context, source, control.signal), ...options });
  let dueMs = Number.NEGATIVE_INFINITY;
  for (;;) {
    const { done, value } = await frames.next();
    if (done) return value;
    onFrame();
    const nowMs = clock.monotonicMs();
    // A tenth of a step of grace: frames that come at the very rate are all taken.
    if (nowMs < dueMs - stepMs / 10) continue;
    dueMs = Math.max(dueMs + stepMs, nowMs - stepMs);
    await control.emit(value, { input: String(params.source) });
  }
}
