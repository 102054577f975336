/** What a `source` parameter is: pictures on disk, a video file, the address of a stream, or a camera. */
import { statSync } from 'node:fs';
import { extname } from 'node:path';
import { OrchestratorError } from '../../contracts/errors.js';
import type { HandlerContext } from '../../handler-kit/define.js';
import type { VideoSource } from '../../vision/ffmpeg.js';
import type { CaptureParams } from './manifest.js';

const VIDEO_EXTENSIONS = new Set(
  '.mp4 .avi .mkv .mov .webm .m4v .mpg .mpeg .ts .wmv .flv .mjpeg .mjpg .h264 .hevc .ogv .mxf'.split(' '),
);
const URL_SCHEMES = new Set(['http', 'https', 'rtsp', 'rtsps']);

/** null when it names pictures. @throws SOURCE_FORBIDDEN, SOURCE_NOT_FOUND, HANDLER_PARAMS_INVALID (a scheme not taken) */
export function videoSource(context: HandlerContext<CaptureParams>): VideoSource | null {
  const { source, width, height, fps } = context.params;
  const asked = { width, height, fps };
  const device = typeof source === 'number' || /^\d+$/.test(source) ? `/dev/video${source}` : source;
  if (/^\/dev\/video\d+$/.test(device)) return { kind: 'camera', address: existing(device, context), ...asked };
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(device)?.[1]?.toLowerCase();
  if (scheme !== undefined) {
    if (URL_SCHEMES.has(scheme)) return { kind: 'url', address: context.allowedUrl(device), ...asked };
    const message = `source ${device}: ${scheme} is none of ${[...URL_SCHEMES].join(', ')}`;
    throw new OrchestratorError('HANDLER_PARAMS_INVALID', message, { source: device });
  }
  if (!isVideoName(device)) return null;
  return { kind: 'file', address: existing(device, context), ...asked };
}

export function isVideoName(path: string): boolean {
  return VIDEO_EXTENSIONS.has(extname(path).toLowerCase()) && !/[*?]/.test(path);
}

function existing(path: string, context: HandlerContext<CaptureParams>): string {
  const allowed = context.allowedPath(path);
  if (statSync(allowed, { throwIfNoEntry: false }) !== undefined) return allowed;
  throw new OrchestratorError('SOURCE_NOT_FOUND', `source ${path} is not there`, { source: path });
}
