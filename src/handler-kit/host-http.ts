/**
 * HTTP on a host's Unix socket: links of other hosts on the node (Upgrade), packets posted by the agent on behalf of
 * users, and handlers' pages. Who may ask was decided by the agent; the socket's directory is the agent's own.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import Type from '#vendor/typebox.js';
import { OrchestratorError, toOrchestratorError } from '../contracts/errors.js';
import { POST_PACKET_BYTES_MAX } from '../contracts/limits.js';
import {
  ATTRIBUTE_LETTERS_MAX,
  ATTRIBUTE_NAME,
  ATTRIBUTES_MAX,
  type Boxes,
  type Payload,
  type PayloadType,
} from '../contracts/packet.js';
import { schemaFaults } from '../contracts/schema.js';
import type { Handler } from './define.js';
import { POST_RETRY_AFTER_S, type PostedInput } from './posted-input.js';

/** What the server needs of the host. */
export interface HostRoutes {
  readonly sessionId: number;
  /** Undefined when the host has no such handler. */
  handler(handlerId: number): Handler | undefined;
  /** Undefined when there is no such input; throws REQUEST_INVALID when a link feeds it. */
  postedInput(handlerId: number, input: number): { posted: PostedInput; accepts: readonly PayloadType[] } | undefined;
  /** An upgrade request for a link. */
  link(path: string, headers: IncomingMessage['headers'], socket: Socket, head: Buffer): void;
}

const INPUT_PATH = /^\/v1\/sessions\/(\d+)\/handlers\/(\d+)\/inputs\/(\d+)$/;
const PAGE_PATH = /^\/v1\/sessions\/(\d+)\/handlers\/(\d+)\/pages\/([^/?]+)$/;
const PICTURE_TYPES = ['image/jpeg', 'image/png', 'image/webp'];

export function createHostServer(routes: HostRoutes): Server {
  const server = createServer((request, response) => {
    route(routes, request, response).catch((error: unknown) => answerProblem(response, toOrchestratorError(error)));
  });
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    routes.link(pathOf(request.url), request.headers, socket as Socket, head);
  });
  return server;
}

/** A request's address without its query. */
export function pathOf(url: string | undefined): string {
  return (url ?? '/').split('?', 1)[0]!;
}

async function route(routes: HostRoutes, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const path = pathOf(request.url);
  const input = INPUT_PATH.exec(path);
  if (input !== null && request.method === 'POST' && Number(input[1]) === routes.sessionId) {
    return postPacket(routes, Number(input[2]), Number(input[3]), request, response);
  }
  const page = PAGE_PATH.exec(path);
  if (page !== null && Number(page[1]) === routes.sessionId) {
    const handler = routes.handler(Number(page[2]));
    if (handler?.kind === 'processing' && handler.page !== undefined) {
      return handler.page(decodeURIComponent(page[3]!), request, response);
    }
  }
  throw new OrchestratorError('ROUTE_NOT_FOUND', `${request.method} ${path} is not served here`);
}

async function postPacket(
  routes: HostRoutes,
  handlerId: number,
  input: number,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const target = routes.postedInput(handlerId, input);
  if (target === undefined) {
    throw new OrchestratorError(
      'HANDLER_NOT_FOUND',
      `session ${routes.sessionId} has no input ${handlerId}.${input} here`,
    );
  }
  const sequence = sequenceHeader(request);
  await target.posted.untilConnected();
  const payload = payloadOf(request, await readBody(request));
  if (!target.accepts.includes(payload.type)) {
    throw new OrchestratorError(
      'PAYLOAD_TYPE_UNSUPPORTED',
      `input ${handlerId}.${input} accepts ${target.accepts.join(' or ')}, not ${payload.type}`,
    );
  }
  answerJson(response, 202, target.posted.post(payload, sequence));
}

function sequenceHeader(request: IncomingMessage): number | null {
  const text = request.headers['x-sequence'];
  if (text === undefined) return null;
  const sequence = Number(text);
  if (Number.isSafeInteger(sequence) && sequence >= 0) return sequence;
  throw new OrchestratorError('REQUEST_INVALID', `x-sequence: ${String(text)} is not an integer of at least 0`);
}

async function readBody(request: IncomingMessage): Promise<Buffer> {
  const tooLarge = (bytes: number): OrchestratorError =>
    new OrchestratorError('REQUEST_TOO_LARGE', `a packet of ${bytes} bytes is over ${POST_PACKET_BYTES_MAX}`);
  const declared = Number(request.headers['content-length'] ?? 0);
  if (declared > POST_PACKET_BYTES_MAX) throw tooLarge(declared);
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > POST_PACKET_BYTES_MAX) throw tooLarge(bytes);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function payloadOf(request: IncomingMessage, data: Buffer): Payload {
  const type = (request.headers['content-type'] ?? '').split(';', 1)[0]!.trim().toLowerCase();
  if (PICTURE_TYPES.includes(type)) return { type: 'jpeg', data };
  if (type === 'application/json') return boxesOf(data);
  if (type !== 'application/octet-stream') {
    throw new OrchestratorError(
      'PAYLOAD_TYPE_UNSUPPORTED',
      `content-type ${type || '(none)'}: post ${PICTURE_TYPES.join(', ')}, application/octet-stream or application/json`,
    );
  }
  const [width, height] = [request.headers['x-frame-width'], request.headers['x-frame-height']].map(Number);
  if (width === undefined || height === undefined || Number.isNaN(width + height)) return { type: 'bytes', data };
  if (Number.isSafeInteger(width) && Number.isSafeInteger(height) && width * height * 3 === data.length) {
    return { type: 'frame', width, height, data };
  }
  throw new OrchestratorError('REQUEST_INVALID', `a frame of ${width}x${height} has ${data.length} bytes`);
}

const PostedAttributesSchema = Type.Record(
  Type.String({ pattern: ATTRIBUTE_NAME.source }),
  Type.Union([Type.Number(), Type.String({ maxLength: ATTRIBUTE_LETTERS_MAX })]),
  { additionalProperties: false, maxProperties: ATTRIBUTES_MAX },
);

const PostedBoxesSchema = Type.Object({
  frame_width: Type.Integer({ minimum: 0, maximum: 0xffff_ffff }),
  frame_height: Type.Integer({ minimum: 0, maximum: 0xffff_ffff }),
  boxes: Type.Array(
    Type.Object({
      label: Type.String(),
      prob: Type.Number(),
      x: Type.Number(),
      y: Type.Number(),
      w: Type.Number(),
      h: Type.Number(),
      note: Type.Optional(Type.String()),
      attributes: Type.Optional(PostedAttributesSchema),
      embedding: Type.Optional(Type.Array(Type.Number())),
    }),
  ),
});

function boxesOf(data: Buffer): Boxes {
  let body: Type.Static<typeof PostedBoxesSchema>;
  try {
    body = JSON.parse(data.toString('utf8'));
  } catch (error) {
    throw new OrchestratorError('REQUEST_INVALID', `boxes: ${(error as Error).message}`);
  }
  const faults = schemaFaults(PostedBoxesSchema, body);
  if (faults.length > 0) throw new OrchestratorError('REQUEST_INVALID', `boxes${faults.slice(0, 5).join('; boxes')}`);
  const boxes = body.boxes.map(({ label, prob, x, y, w, h, note, attributes, embedding }) => ({
    label,
    prob,
    x,
    y,
    w,
    h,
    ...(note === undefined ? {} : { note }),
    ...(attributes === undefined ? {} : { attributes }),
    ...(embedding === undefined ? {} : { embedding: Float32Array.from(embedding) }),
  }));
  return { type: 'boxes', frame_width: body.frame_width, frame_height: body.frame_height, boxes };
}

function answerJson(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

function answerProblem(response: ServerResponse, error: OrchestratorError): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  const retry: Record<string, number> = error.code === 'LINK_BUSY' ? { 'retry-after': POST_RETRY_AFTER_S } : {};
  // A body that was refused unread is not read to its end either.
  const close: Record<string, string> = error.code === 'REQUEST_TOO_LARGE' ? { connection: 'close' } : {};
  response.writeHead(error.status, { 'content-type': 'application/problem+json', ...retry, ...close });
  response.end(JSON.stringify(error.toProblem()));
}
