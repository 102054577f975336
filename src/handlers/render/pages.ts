/**
 * What a browser sees of a render handler. A viewer that is slower than the frames gets the newest one when it is ready
 * for it; nothing queues up for it.
 */
import { createReadStream, openSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { OrchestratorError } from '../../contracts/errors.js';
import { INDEX_HTML } from './index-page.js';

/** Open streams of one handler: each may hold one frame that is being sent. */
export const VIEWERS_MAX = 16;

const BOUNDARY = 'frame';

interface Viewer {
  readonly response: ServerResponse;
  /** True while the socket has not taken the last frame. */
  busy: boolean;
  /** The newest frame that came while it was busy. */
  next: Buffer | null;
}

export interface PagesOptions {
  /** The newest frame as JPEG; null before the first. */
  latestJpeg(): Promise<Buffer | null>;
  /** What boxes.json answers. */
  latestRecord(): object;
  /** boxes.jsonl and the bytes of it that are whole lines; null when nothing is recorded. */
  journal(): { readonly path: string; readonly bytes: number } | null;
}

export class Pages {
  readonly #viewers = new Set<Viewer>();
  readonly #options: PagesOptions;

  constructor(options: PagesOptions) {
    this.#options = options;
  }

  get viewers(): number {
    return this.#viewers.size;
  }

  page(name: string, request: IncomingMessage, response: ServerResponse): void {
    if (name === 'index.html' || name === '') answer(response, 'text/html; charset=utf-8', INDEX_HTML);
    else if (name === 'stream.mjpeg') void this.#stream(request, response);
    else if (name === 'frame.jpg') void this.#frame(response);
    else if (name === 'boxes.json') {
      answer(response, 'application/json', `${JSON.stringify(this.#options.latestRecord())}\n`);
    } else if (name === 'boxes.jsonl') this.#journal(response);
    else {
      const pages = 'index.html, stream.mjpeg, frame.jpg, boxes.json, boxes.jsonl';
      refuse(response, new OrchestratorError('ROUTE_NOT_FOUND', `render has no page ${name}; it has ${pages}`));
    }
  }

  /** Hands a frame to every viewer. */
  show(jpeg: Buffer): void {
    for (const viewer of this.#viewers) {
      if (viewer.busy) viewer.next = jpeg;
      else send(viewer, jpeg);
    }
  }

  close(): void {
    for (const { response } of this.#viewers) response.end();
    this.#viewers.clear();
  }

  async #stream(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (this.#viewers.size >= VIEWERS_MAX) {
      response.setHeader('retry-after', '5');
      refuse(response, new OrchestratorError('LINK_BUSY', `${VIEWERS_MAX} viewers are watching, which is the most`));
      return;
    }
    const viewer: Viewer = { response, busy: false, next: null };
    this.#viewers.add(viewer);
    const leave = () => this.#viewers.delete(viewer);
    request.on('close', leave);
    response.on('close', leave).on('error', leave);
    response.on('drain', () => {
      viewer.busy = false;
      const { next } = viewer;
      viewer.next = null;
      if (next !== null) send(viewer, next);
    });
    response.writeHead(200, {
      'content-type': `multipart/x-mixed-replace; boundary=${BOUNDARY}`,
      'cache-control': 'no-store',
    });
    response.flushHeaders();
    const first = await this.#options.latestJpeg().catch(() => null);
    if (first !== null && !viewer.busy && this.#viewers.has(viewer)) send(viewer, first);
  }

  async #frame(response: ServerResponse): Promise<void> {
    try {
      const jpeg = await this.#options.latestJpeg();
      if (jpeg === null) refuse(response, new OrchestratorError('ROUTE_NOT_FOUND', 'no frame has come yet'));
      else answer(response, 'image/jpeg', jpeg);
    } catch (error) {
      refuse(response, new OrchestratorError('INTERNAL', `frame cannot be encoded: ${String(error)}`));
    }
  }

  #journal(response: ServerResponse): void {
    const journal = this.#options.journal();
    if (journal === null) {
      refuse(response, new OrchestratorError('ROUTE_NOT_FOUND', 'params.boxes is false: nothing is recorded'));
      return;
    }
    if (journal.bytes === 0) {
      answer(response, 'application/x-ndjson', '');
      return;
    }
    response.writeHead(200, { 'content-type': 'application/x-ndjson', 'content-length': journal.bytes });
    // Opened at once: by its name another file may be meant a moment later.
    createReadStream(journal.path, { fd: openSync(journal.path, 'r'), end: journal.bytes - 1 })
      .on('error', () => response.destroy())
      .pipe(response);
  }
}

function send(viewer: Viewer, jpeg: Buffer): void {
  const { response } = viewer;
  response.cork();
  response.write(`--${BOUNDARY}\r\ncontent-type: image/jpeg\r\ncontent-length: ${jpeg.length}\r\n\r\n`);
  response.write(jpeg);
  viewer.busy = !response.write('\r\n');
  response.uncork();
}

function answer(response: ServerResponse, type: string, body: string | Buffer): void {
  response.writeHead(200, {
    'content-type': type,
    'content-length': Buffer.byteLength(body),
    'cache-control': 'no-store',
  });
  response.end(body);
}

function refuse(response: ServerResponse, error: OrchestratorError): void {
  const body = JSON.stringify(error.toProblem());
  response.writeHead(error.status, {
    'content-type': 'application/problem+json',
    'content-length': Buffer.byteLength(body),
  });
  response.end(body);
}
