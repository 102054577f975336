/**
 * The system's ffmpeg as a supervised child: video in as frames, frames out as a video file. Decoding in a child costs no
 * speed against decoding in this process, and a broken stream takes nothing down. Frames come as PPM, which says its own
 * size, so a stream may change it. A child that says nothing for too long is killed; its last words are the reason.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { promisify } from 'node:util';
import { OrchestratorError } from '../contracts/errors.js';
import { PICTURE_PIXELS_MAX } from '../contracts/limits.js';
import type { Frame } from '../contracts/packet.js';

/** Kept of what a child says on stderr, characters: enough for the reason. */
const WORDS_MAX = 4000;
const PROBE_MS_MAX = 20_000;
/** What a child may take to end a file after its input was closed, ms. */
const END_MS_MAX = 20_000;

/** Container formats of video files; playlists, which could name other files and addresses, are not among them. */
const FILE_FORMATS =
  'mov,avi,matroska,mpegts,mpeg,mpegvideo,flv,live_flv,asf,ogg,mjpeg,mpjpeg,h264,hevc,m4v,mxf,gif,yuv4mpegpipe,ivf';
const STREAM_FORMATS = `${FILE_FORMATS},rtsp,rtp,sdp`;

export interface VideoSource {
  readonly kind: 'file' | 'url' | 'camera';
  /** Absolute path, URL or device. */
  readonly address: string;
  /** Asked of a camera; 0 = its own. */
  readonly width: number;
  readonly height: number;
  readonly fps: number;
}

/** ffmpeg's options up to the input itself. */
function inputArguments({ kind, address, width, height, fps }: VideoSource): string[] {
  if (kind === 'file') {
    return ['-protocol_whitelist', 'file', '-format_whitelist', FILE_FORMATS, '-i', `file:${address}`];
  }
  if (kind === 'camera') {
    const size = width > 0 && height > 0 ? ['-video_size', `${width}x${height}`] : [];
    return ['-f', 'v4l2', ...(fps > 0 ? ['-framerate', String(fps)] : []), ...size, '-i', address];
  }
  const transport = /^rtsps?:/i.test(address) ? ['-rtsp_transport', 'tcp'] : [];
  const protocols = ['-protocol_whitelist', 'http,https,tcp,tls,rtsp,rtp,udp,crypto'];
  return ['-fflags', 'nobuffer', ...transport, ...protocols, '-format_whitelist', STREAM_FORMATS, '-i', address];
}

export interface VideoFacts {
  readonly fps: number;
  /** null for streams without an end. */
  readonly durationS: number | null;
}

/** @throws FFMPEG_MISSING; SOURCE_NOT_FOUND when there is no video in it */
export async function probeVideo(source: VideoSource): Promise<VideoFacts> {
  const wanted = ['-select_streams', 'v:0', '-show_entries', 'stream=avg_frame_rate,r_frame_rate:format=duration'];
  const args = ['-v', 'error', ...inputArguments(source).slice(0, -2), ...wanted, '-of', 'json', inputOf(source)];
  let stdout: string;
  try {
    ({ stdout } = await promisify(execFile)('ffprobe', args, { timeout: PROBE_MS_MAX, maxBuffer: 1024 ** 2 }));
  } catch (error) {
    const { code, stderr } = error as NodeJS.ErrnoException & { stderr?: string };
    if (code === 'ENOENT') throw ffmpegMissing('ffprobe', source.address);
    throw noVideo(source, lastWords(stderr ?? '') || String(error));
  }
  const { streams = [], format = {} } = JSON.parse(stdout) as {
    streams?: { avg_frame_rate?: string; r_frame_rate?: string }[];
    format?: { duration?: string };
  };
  const [stream] = streams;
  if (stream === undefined) throw noVideo(source, 'it holds no video stream');
  const fps = rate(stream.avg_frame_rate) ?? rate(stream.r_frame_rate) ?? 25;
  return { fps, durationS: format.duration === undefined ? null : Number(format.duration) };
}

const inputOf = (source: VideoSource) => inputArguments(source).at(-1)!;

function rate(text: string | undefined): number | null {
  const [over = Number.NaN, under = 1] = (text ?? '').split('/').map(Number);
  const value = over / under;
  return value > 0 && value <= 1000 ? value : null;
}

function noVideo({ address }: VideoSource, reason: string): OrchestratorError {
  return new OrchestratorError('SOURCE_NOT_FOUND', `source ${address} cannot be read as video: ${reason}`, {
    source: address,
  });
}

export function ffmpegMissing(program: 'ffmpeg' | 'ffprobe', what: string): OrchestratorError {
  const message = `${what} needs ${program}, which is not on the PATH of this node; install it (Debian: apt-get install ffmpeg)`;
  return new OrchestratorError('FFMPEG_MISSING', message, { program });
}

export interface ReadOptions {
  readonly source: VideoSource;
  /** Size of the frames; 0 leaves a side to follow from the other, both 0 = as the stream is. */
  readonly width: number;
  readonly height: number;
  /** Files: frames per second to thin out to; null = all frames. */
  readonly fps: number | null;
  /** Files: begin again at the end, for ever. */
  readonly loop: boolean;
  /** A child that gives no frame data for so long is killed, ms. */
  readonly stallMs: number;
  readonly signal: AbortSignal;
}

/**
 * Frames until the stream ends. What the consumer does not take waits in the pipe, and stops the child.
 * @returns why it ended: null for a clean end, else ffmpeg's last words
 * @throws FFMPEG_MISSING, PICTURE_TOO_LARGE
 */
export async function* readVideo(options: ReadOptions): AsyncGenerator<Frame, string | null> {
  const { source, signal } = options;
  const child = spawn('ffmpeg', readArguments(options), { stdio: ['ignore', 'pipe', 'pipe'] });
  const ended = endOf(child, source.address);
  const kill = () => child.kill('SIGKILL');
  signal.addEventListener('abort', kill, { once: true });
  // A session that was stopped while it got ready would otherwise wait for the first frame, which may never come.
  if (signal.aborted) kill();
  let stalled = false;
  const parser = new PpmParser();
  try {
    const chunks = child.stdout[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
    for (;;) {
      const timer = setTimeout(() => {
        stalled = true;
        kill();
      }, options.stallMs);
      const { done, value } = await chunks.next().finally(() => clearTimeout(timer));
      if (done) break;
      yield* parser.push(value);
    }
    const { code, words } = await ended;
    if (stalled) return `no data for ${options.stallMs / 1000} s`;
    return code === 0 && words === '' ? null : words || `ffmpeg ended with code ${code}`;
  } finally {
    signal.removeEventListener('abort', kill);
    kill();
    // A child counts as closed only when its output has been read to the end, and nobody reads on.
    child.stdout.destroy();
    await ended.catch(() => {});
  }
}

function readArguments({ source, width, height, fps, loop }: ReadOptions): string[] {
  const side = (px: number) => (px === 0 ? -1 : px);
  const filters = [
    ...(fps === null ? [] : [`fps=${fps}`]),
    ...(width === 0 && height === 0 ? [] : [`scale=${side(width)}:${side(height)}:flags=bilinear`]),
  ];
  return [
    ...['-nostdin', '-hide_banner', '-loglevel', 'error'],
    ...(loop ? ['-stream_loop', '-1'] : []),
    ...inputArguments(source),
    ...['-map', '0:v:0', '-an', '-sn', '-dn'],
    ...(filters.length === 0 ? [] : ['-vf', filters.join(',')]),
    ...['-fps_mode', fps === null ? 'passthrough' : 'cfr'],
    ...['-f', 'image2pipe', '-c:v', 'ppm', '-pix_fmt', 'rgb24', 'pipe:1'],
  ];
}

/** How a child ended; rejects when it could not be started. */
function endOf(child: ChildProcess, what: string): Promise<{ code: number | null; words: string }> {
  let words = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    words = (words + text).slice(-WORDS_MAX);
  });
  const ended = new Promise<{ code: number | null; words: string }>((resolve, reject) => {
    child.on('error', (error: NodeJS.ErrnoException) => {
      reject(error.code === 'ENOENT' ? ffmpegMissing('ffmpeg', what) : error);
    });
    child.on('close', (code) => resolve({ code, words: lastWords(words) }));
  });
  // Whoever waits for it hears of the failure; nobody may be waiting yet.
  ended.catch(() => {});
  return ended;
}

function lastWords(text: string): string {
  return text.trim().split('\n').slice(-2).join('; ').slice(-400);
}

const HEADER = /^P6\s(\d+) (\d+)\s255\s/;
/** `P6`, two numbers of at most six digits, 255. */
const HEADER_BYTES_MAX = 32;

/** Cuts a byte stream into the pictures that it holds. Exported for tests. */
export class PpmParser {
  #header: Buffer = Buffer.alloc(0);
  #frame: Frame | null = null;
  #filled = 0;

  /** The pictures that `chunk` completes. @throws PICTURE_INVALID, PICTURE_TOO_LARGE */
  *push(chunk: Buffer): Generator<Frame> {
    let rest: Buffer = chunk;
    while (rest.length > 0) {
      if (this.#frame === null) rest = this.#readHeader(rest);
      if (this.#frame === null) return;
      const { data } = this.#frame;
      const taken = rest.copy(data, this.#filled);
      this.#filled += taken;
      rest = rest.subarray(taken);
      if (this.#filled < data.length) return;
      yield this.#frame;
      this.#frame = null;
    }
  }

  #readHeader(chunk: Buffer): Buffer {
    const known = this.#header.length;
    const bytes = Buffer.concat([this.#header, chunk.subarray(0, HEADER_BYTES_MAX)]);
    const match = HEADER.exec(bytes.toString('latin1'));
    if (match === null) {
      if (bytes.length >= HEADER_BYTES_MAX)
        throw new OrchestratorError('PICTURE_INVALID', 'ffmpeg sent no PPM picture');
      this.#header = bytes;
      return Buffer.alloc(0);
    }
    const [width, height] = [Number(match[1]), Number(match[2])];
    if (width * height > PICTURE_PIXELS_MAX) {
      const message = `the video has ${width} x ${height} pixels, at most ${PICTURE_PIXELS_MAX} are accepted`;
      throw new OrchestratorError('PICTURE_TOO_LARGE', message, { width, height });
    }
    this.#header = Buffer.alloc(0);
    this.#frame = { type: 'frame', width, height, data: Buffer.allocUnsafeSlow(width * height * 3) };
    this.#filled = 0;
    return chunk.subarray(match[0].length - known);
  }
}

/** A video file that grows picture by picture and can be played whenever the writer dies. */
export class VideoWriter {
  readonly #child: ChildProcess;
  readonly #ended: Promise<{ code: number | null; words: string }>;
  readonly #path: string;

  /** @param fps of the file: pictures are shown one after the other, however they came */
  constructor(path: string, fps: number) {
    this.#path = path;
    const input = ['-f', 'image2pipe', '-c:v', 'mjpeg', '-framerate', String(fps), '-i', 'pipe:0'];
    const even = 'pad=ceil(iw/2)*2:ceil(ih/2)*2';
    const codec = ['-c:v', 'libx264', '-preset', 'veryfast', '-pix_fmt', 'yuv420p', '-vf', even];
    const file = ['-movflags', '+frag_keyframe+empty_moov+default_base_moof', '-f', 'mp4', '-y', `file:${path}`];
    this.#child = spawn('ffmpeg', ['-hide_banner', '-loglevel', 'error', ...input, ...codec, ...file], {
      stdio: ['pipe', 'ignore', 'pipe'],
    });
    this.#ended = endOf(this.#child, path);
    this.#child.stdin?.on('error', () => {});
  }

  /** @throws FFMPEG_MISSING, HANDLER_FAILED when ffmpeg has ended */
  async write(jpeg: Buffer): Promise<void> {
    const stdin = this.#child.stdin!;
    if (stdin.writable && stdin.write(jpeg)) return;
    const drained = new Promise<void>((resolve) => stdin.once('drain', resolve));
    const { code, words } = (await Promise.race([drained, this.#ended])) ?? {};
    if (code === undefined && words === undefined) return;
    throw new OrchestratorError('HANDLER_FAILED', `ffmpeg stopped writing ${this.#path}: ${words || `code ${code}`}`);
  }

  /** The file is whole when this resolves. */
  async end(): Promise<void> {
    this.#child.stdin!.end();
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), END_MS_MAX);
    await this.#ended.finally(() => clearTimeout(timer));
  }
}
