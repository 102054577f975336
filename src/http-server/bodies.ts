/**
 * JSON bodies of peers that we did not write: reference programs and curl send JSON under any content-type, some of them
 * compressed. Invariant: what comes out of decompression is bounded before it is there, so a small body cannot
 * become a large one.
 */
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import type { FastifyRequest } from 'fastify';
import { OrchestratorError } from '../contracts/errors.js';
import type { HttpServer } from './http-server.js';

const gunzipAsync = promisify(gunzip);

export interface AnyJsonOptions {
  /** Bound of a body as sent, and again after decompression, bytes. */
  readonly bodyBytesMax: number;
  /** Content types that are not JSON, and what makes a value of such a body. */
  readonly others?: Readonly<Record<string, (body: Buffer) => unknown>>;
}

/**
 * Makes `scope` (a registered plugin, so that other routes keep the strict rule) read every body as JSON, whatever its
 * content-type, and accept content-encoding gzip. Throws REQUEST_TOO_LARGE and REQUEST_INVALID.
 */
export function acceptAnyJson(scope: HttpServer, { bodyBytesMax, others = {} }: AnyJsonOptions): void {
  scope.removeAllContentTypeParsers();
  const options = { parseAs: 'buffer', bodyLimit: bodyBytesMax } as const;
  for (const [type, parse] of Object.entries(others)) {
    scope.addContentTypeParser(type, options, async (request: FastifyRequest, body: Buffer) =>
      parse(await decoded(request, body, bodyBytesMax)),
    );
  }
  scope.addContentTypeParser('*', options, async (request: FastifyRequest, body: Buffer) =>
    parseJson(await decoded(request, body, bodyBytesMax)),
  );
}

async function decoded(request: FastifyRequest, body: Buffer, bytesMax: number): Promise<Buffer> {
  const encoding = request.headers['content-encoding'] ?? 'identity';
  if (encoding === 'identity') return body;
  if (encoding !== 'gzip' && encoding !== 'x-gzip') {
    throw new OrchestratorError('REQUEST_INVALID', `content-encoding ${encoding} is not accepted; send gzip or none`);
  }
  try {
    return await gunzipAsync(body, { maxOutputLength: bytesMax });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') {
      const message = `the body decompresses to more than the bound of ${bytesMax} bytes`;
      throw new OrchestratorError('REQUEST_TOO_LARGE', message, { bytes_max: bytesMax });
    }
    throw new OrchestratorError('REQUEST_INVALID', `the body is not gzip: ${(error as Error).message}`);
  }
}

function parseJson(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'));
  } catch (error) {
    throw new OrchestratorError('REQUEST_INVALID', `the body is not JSON: ${(error as Error).message}`);
  }
}
