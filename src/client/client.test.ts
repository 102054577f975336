import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { OrchestratorError } from '../contracts/errors.js';
import {
  createCollectorClient,
  createCoordinatorClient,
  createNodeClient,
  httpUrl,
  unreachableCause,
} from './index.js';

const closing: (() => Promise<unknown> | unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

type Answer = (request: IncomingMessage, response: ServerResponse, body: string) => void;

async function server(answer: Answer): Promise<string> {
  const app = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    answer(request, response, Buffer.concat(chunks).toString());
  });
  await new Promise<void>((resolve) => app.listen(0, '127.0.0.1', resolve));
  closing.push(() => {
    app.closeAllConnections();
    app.close();
  });
  return `http://127.0.0.1:${(app.address() as AddressInfo).port}`;
}

function node(url: string, token: string | null = null) {
  const client = createNodeClient({ url, token, timeoutMs: 150 });
  closing.push(() => client.close());
  return client;
}

async function failure(promise: Promise<unknown>): Promise<OrchestratorError> {
  const error = await promise.then(
    () => new Error('it did not fail'),
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(OrchestratorError);
  return error as OrchestratorError;
}

const json = (response: ServerResponse, status: number, body: unknown) =>
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));

describe('answers', () => {
  it('makes a problem the error that it was, context included', async () => {
    const stale = new OrchestratorError('SESSION_STALE', 'epoch 1 < 3', { epoch: 3 });
    const url = await server((_request, response) => json(response, stale.status, stale.toProblem()));
    const error = await failure(node(url).listSessions());
    expect([error.code, error.message, error.context]).toEqual(['SESSION_STALE', 'epoch 1 < 3', { epoch: 3 }]);
  });

  it("reads the reference's shape of a failure too", async () => {
    const busy = { result: 'Failed', reason: '5 rows wait', code: 'COLLECTOR_BUSY' };
    const url = await server((_request, response) => json(response, 429, busy));
    const client = createCollectorClient({ url, token: null });
    closing.push(() => client.close());
    const error = await failure(client.report({}));
    expect([error.code, error.message]).toEqual(['COLLECTOR_BUSY', '5 rows wait']);
  });

  it.each([
    ['a page', 200, '<html>', 'answered 200 with something that is not JSON'],
    ['a foreign failure', 503, 'no', 'answered 503'],
    ['a heartbeat of another version', 200, '{"facts": {}}', 'answered no valid heartbeat: / must have'],
  ])('says that %s is no answer of ours', async (_name, status, body, words) => {
    const url = await server((_request, response) => response.writeHead(status).end(body));
    const error = await failure(node(url).heartbeat());
    expect([error.code, unreachableCause(error)]).toEqual(['NODE_UNREACHABLE', 'answer']);
    expect(error.message).toContain(words);
    expect(error.message).toContain(url);
  });

  it('sends token, query and body, and takes an empty answer', async () => {
    const seen: string[] = [];
    const url = await server((request, response, body) => {
      seen.push(`${request.method} ${request.url} ${request.headers.authorization} ${body}`);
      response.writeHead(204).end();
    });
    expect(await node(url, 's3cret').deleteSession(7, 3)).toBe(true);
    expect(seen).toEqual(['DELETE /v1/sessions/7?epoch=3 Bearer s3cret ']);
  });

  it('takes a session that is not there as deleted', async () => {
    const gone = new OrchestratorError('SESSION_NOT_FOUND', 'no session 7');
    const url = await server((_request, response) => json(response, 404, gone.toProblem()));
    expect(await node(url).deleteSession(7, 3)).toBe(false);
  });
});

describe('connections', () => {
  it('names the address that refuses', async () => {
    const error = await failure(node('http://127.0.0.1:1').heartbeat());
    expect([error.code, unreachableCause(error)]).toEqual(['NODE_UNREACHABLE', 'ECONNREFUSED']);
    expect(error.message).toBe('node at http://127.0.0.1:1 cannot be reached (ECONNREFUSED)');
    const client = createCoordinatorClient({ url: 'http://localhost:1', token: null });
    closing.push(() => client.close());
    expect(await failure(client.nodes())).toMatchObject({ code: 'SERVICE_UNREACHABLE' });
  });

  it.each([
    ['never answers', () => {}],
    ['never ends', (_request: IncomingMessage, response: ServerResponse) => response.writeHead(200).write('{')],
  ] as [string, Answer][])('gives up on a peer that %s', async (_name, answer) => {
    const error = await failure(node(await server(answer)).heartbeat());
    expect([error.code, unreachableCause(error)]).toEqual(['NODE_UNREACHABLE', 'timeout']);
    expect(error.message).toContain('does not answer within 150 ms');
  });

  it('asks once more when a kept-alive connection is closed under it, but never repeats a POST', async () => {
    let requests = 0;
    const url = await server((request, response) => {
      requests += 1;
      if (requests === 2 || request.method === 'POST') request.socket.destroy();
      else json(response, 200, []);
    });
    const client = createCoordinatorClient({ url, token: null });
    closing.push(() => client.close());
    expect(await client.nodes()).toEqual([]);
    expect(await client.nodes()).toEqual([]);
    expect(requests).toBe(3);
    expect(await failure(client.createSession({ service: 'a' }))).toMatchObject({ code: 'SERVICE_UNREACHABLE' });
    expect(requests).toBe(4);
  });

  it('refuses an address that is none', () => {
    expect(() => createNodeClient({ url: 'edge-1:9000', token: null })).toThrow(/not an http\(s\) address/);
    expect(httpUrl('::1', 9000)).toBe('http://[::1]:9000');
  });
});

describe('events', () => {
  it('follows a stream across chunks until it is told to stop', async () => {
    const url = await server((request, response) => {
      expect([request.url, request.headers.accept]).toEqual(['/v1/events?after=5', 'text/event-stream']);
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write(': hello\n\ndata: {"kind":"node.up"}\n\nda');
      setImmediate(() => response.write('ta: {"kind":"node.lost"}\n\n'));
    });
    const client = createCoordinatorClient({ url, token: null });
    closing.push(() => client.close());
    const stop = new AbortController();
    const kinds: string[] = [];
    for await (const event of client.followEvents({ signal: stop.signal, after: 5 })) {
      kinds.push(event.kind);
      if (kinds.length === 2) stop.abort();
    }
    expect(kinds).toEqual(['node.up', 'node.lost']);
  });

  it('reports a refused stream as the problem that it is', async () => {
    const missing = new OrchestratorError('TOKEN_MISSING', 'needs a token');
    const url = await server((_request, response) => json(response, 401, missing.toProblem()));
    const client = createCoordinatorClient({ url, token: null });
    closing.push(() => client.close());
    const stream = client.followEvents({ signal: new AbortController().signal });
    expect(await failure(stream.next())).toMatchObject({ code: 'TOKEN_MISSING' });
  });
});
