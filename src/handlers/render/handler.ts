/**
 * The sink: shows frames as pages and records them. The line in boxes.jsonl is what makes a sequence recorded: it is
 * written after the frame's file, so that a kill between the two only makes the same file again.
 */
import { mkdirSync, realpathSync } from 'node:fs';
import { isAbsolute, join, relative, resolve, sep } from 'node:path';
import { OrchestratorError } from '../../contracts/errors.js';
import type { DataPacket, DropPacket, Frame, Jpeg } from '../../contracts/packet.js';
import type { HandlerContext, ProcessingHandler, ProcessResult } from '../../handler-kit/define.js';
import { encodeJpeg } from '../../vision/images.js';
import { inputAs } from '../ports.js';
import { FrameFiles } from './frame-files.js';
import { Journal, type JournalRecord } from './journal.js';
import type { RenderParams } from './manifest.js';
import { Pages } from './pages.js';
import { VideoFile } from './video-file.js';
import { Webhook } from './webhook.js';

const BYTES_PER_MIB = 2 ** 20;
/** Frames over which fps is measured. */
const FPS_WINDOW = 32;

export async function create(context: HandlerContext<RenderParams>): Promise<ProcessingHandler> {
  return new Render(context);
}

class Render implements ProcessingHandler {
  readonly kind = 'processing';
  readonly #context: HandlerContext<RenderParams>;
  readonly #journal: Journal | null;
  readonly #files: FrameFiles | null;
  readonly #pages: Pages;
  readonly #video: VideoFile | null;
  readonly #webhook: Webhook | null;
  /** Highest sequence that is settled here; a repeated one is neither shown nor recorded. */
  #settled: number;
  #latest: Frame | Jpeg | null = null;
  #latestJpeg: Promise<Buffer> | null = null;
  #record: JournalRecord | null = null;
  #arrivalsMs: number[] = [];
  #shownMs = Number.NEGATIVE_INFINITY;

  constructor(context: HandlerContext<RenderParams>) {
    const { params } = context;
    this.#context = context;
    const directory = outputDirectory(context.outputDir, params.output);
    this.#journal = params.boxes
      ? new Journal(join(directory, 'boxes.jsonl'), params.boxes_mb_max * BYTES_PER_MIB)
      : null;
    this.#files = params.write_frames ? new FrameFiles(directory, params.frames_max) : null;
    this.#video = params.video === '' ? null : videoFile(directory, params);
    const { logger } = context;
    this.#webhook = params.webhook === '' ? null : new Webhook({ url: context.allowedUrl(params.webhook), logger });
    this.#settled = this.#journal?.last ?? -1;
    this.#pages = new Pages({
      latestJpeg: () => this.#jpeg(),
      latestRecord: () => ({ ...this.#record, fps: this.#fps() }),
      journal: () => (this.#journal === null ? null : { path: this.#journal.path, bytes: this.#journal.bytes }),
    });
  }

  /** What an earlier run recorded; without boxes.jsonl nothing tells, and frame files are simply written again. */
  get committed(): number | undefined {
    return this.#journal?.last;
  }

  async process(packets: readonly DataPacket[]): Promise<ProcessResult> {
    const packet = packets[0]!;
    const picture = inputAs(packets, 0, 'frame', 'jpeg');
    if (packet.sequence <= this.#settled) return { outputs: [] };
    this.#latest = picture;
    this.#latestJpeg = null;
    const show = this.#isTimeToShow();
    if (this.#files !== null || this.#video !== null || show) {
      const jpeg = (await this.#jpeg())!;
      await this.#files?.write(packet.sequence, jpeg);
      await this.#video?.write(jpeg);
      if (show) this.#pages.show(jpeg);
    }
    this.#settle({
      input: packet.metadata.input ?? null,
      sequence: packet.sequence,
      boxes: packet.metadata.boxes ?? [],
      latency_ms: Math.round((this.#context.clock.now() - packet.timestamp) * 10_000) / 10,
    });
    return { outputs: [] };
  }

  dropped(packet: DropPacket): void {
    if (packet.sequence <= this.#settled) return;
    const { sequence, reason, handler_id, detail } = packet;
    this.#settle({ sequence, dropped: reason, handler_id, ...(detail === undefined ? {} : { detail }) });
  }

  async ended(): Promise<void> {
    this.#journal?.sync();
    await this.#video?.end();
  }

  page: NonNullable<ProcessingHandler['page']> = (name, request, response) => {
    this.#pages.page(name, request, response);
  };

  async close(): Promise<void> {
    this.#pages.close();
    this.#journal?.close();
    await this.#video?.end();
    await this.#webhook?.close();
  }

  #settle(record: JournalRecord): void {
    this.#journal?.append(record);
    this.#webhook?.send(record);
    this.#settled = record.sequence;
    if ('dropped' in record) return;
    this.#record = record;
    this.#arrivalsMs.push(this.#context.clock.monotonicMs());
    if (this.#arrivalsMs.length > FPS_WINDOW) this.#arrivalsMs.shift();
  }

  /** The latest picture as JPEG, encoded once whoever asks. */
  #jpeg(): Promise<Buffer | null> {
    const latest = this.#latest;
    if (latest === null) return Promise.resolve(null);
    this.#latestJpeg ??=
      latest.type === 'jpeg'
        ? Promise.resolve(latest.data)
        : Promise.resolve(encodeJpeg(latest, this.#context.params.quality));
    return this.#latestJpeg;
  }

  #isTimeToShow(): boolean {
    if (this.#pages.viewers === 0) return false;
    const nowMs = this.#context.clock.monotonicMs();
    const { fps } = this.#context.params;
    // A millisecond of grace: frames that come exactly at this rate are all shown.
    if (fps > 0 && nowMs - this.#shownMs < 1000 / fps - 1) return false;
    this.#shownMs = nowMs;
    return true;
  }

  /** Over the last frames up to now, so that it falls to 0 when they stop. */
  #fps(): number {
    const first = this.#arrivalsMs[0];
    if (first === undefined || this.#arrivalsMs.length < 2) return 0;
    const last = this.#arrivalsMs.at(-1)!;
    const meanMs = (last - first) / (this.#arrivalsMs.length - 1);
    const silentMs = this.#context.clock.monotonicMs() - last;
    return Math.round(10_000 / Math.max(meanMs, silentMs > 2 * meanMs ? silentMs : meanMs, 0.001)) / 10;
  }
}

function videoFile(directory: string, params: RenderParams): VideoFile {
  const { video, video_fps, video_mb_max, videos_max } = params;
  const bytesMax = video_mb_max * BYTES_PER_MIB;
  return new VideoFile({ directory, name: video, fps: video_fps, bytesMax, filesMax: videos_max });
}

/** Made when missing. Links in it must not lead outside either. */
function outputDirectory(outputDir: string, output: string): string {
  const directory = resolve(outputDir, output);
  const inside = (path: string, root: string) => {
    const way = relative(root, path);
    return way === '' || (!isAbsolute(way) && way !== '..' && !way.startsWith(`..${sep}`));
  };
  const forbidden = () =>
    new OrchestratorError('SOURCE_FORBIDDEN', `output ${output} lies outside the session's output directory`, {
      output,
    });
  if (isAbsolute(output) || !inside(directory, resolve(outputDir))) throw forbidden();
  mkdirSync(directory, { recursive: true });
  if (!inside(realpathSync(directory), realpathSync(outputDir))) throw forbidden();
  return directory;
}
