import { connect } from 'node:net';
import { gzipSync } from 'node:zlib';
import { afterEach, describe, expect, it } from 'vitest';
import Type from '#vendor/typebox.js';
import { OrchestratorError } from '../contracts/errors.js';
import { silentLogger } from '../std/logger.js';
import { acceptAnyJson } from './bodies.js';
import { createHttpServer, type HttpServer, isLoopback, type ListenAddress, listen } from './http-server.js';

let app: HttpServer | undefined;
afterEach(async () => {
  await app?.close();
  app = undefined;
});

const BodySchema = Type.Object(
  { quality: Type.Integer({ minimum: 1, maximum: 100 }), name: Type.String({ default: 'none' }) },
  { additionalProperties: false },
);

async function start(token: string | null = null): Promise<ListenAddress> {
  app = createHttpServer({ token, open: ['GET /v1/health', '/web/*'], bodyLimit: 1000, logger: silentLogger });
  app.get('/v1/health', async () => ({ status: 'ok' }));
  app.get('/web/page', async () => 'page');
  app.post('/v1/things', { schema: { body: BodySchema } }, async (request) => request.body);
  app.get(
    '/v1/list',
    { schema: { querystring: Type.Object({ limit: Type.Integer({ maximum: 10, default: 5 }) }) } },
    async (request) => ({ limit: request.query.limit }),
  );
  app.get('/v1/crash', async () => {
    throw new Error('secret path /etc');
  });
  app.get('/v1/busy', async () => {
    throw new OrchestratorError('COLLECTOR_BUSY', 'later');
  });
  app.register(async (scope) => {
    acceptAnyJson(scope as HttpServer, { bodyBytesMax: 1000 });
    scope.post('/', { config: { answers: 'reference' } }, async (request) => ({ echo: request.body }));
  });
  return listen(app, { host: '127.0.0.1', port: 0, token });
}

async function ask(url: string, init: RequestInit = {}) {
  const response = await fetch(url, init);
  return {
    status: response.status,
    headers: response.headers,
    body: (await response.json()) as Record<string, unknown>,
  };
}

const post = (body: unknown, headers: Record<string, string> = {}): RequestInit => ({
  method: 'POST',
  headers: { 'content-type': 'application/json', ...headers },
  body: typeof body === 'string' ? body : JSON.stringify(body),
});

describe('createHttpServer', () => {
  it('fills defaults in and refuses a body with place, value and bound', async () => {
    const { url } = await start();
    expect((await ask(`${url}/v1/things`, post({ quality: 3 }))).body).toEqual({ quality: 3, name: 'none' });
    const refused = await ask(`${url}/v1/things`, post({ quality: 250 }));
    expect(refused.status).toBe(400);
    expect(refused.headers.get('content-type')).toContain('application/problem+json');
    expect(refused.body).toMatchObject({ code: 'REQUEST_INVALID', detail: 'body: /quality must be <= 100 (is 250)' });
    expect((await ask(`${url}/v1/things`, post({ quality: '3' }))).status).toBe(400);
    expect((await ask(`${url}/v1/things`, post({ quality: 3, colour: 1 }))).body.detail).toContain(
      'unknown key colour',
    );
  });

  it('reads numbers out of a query and refuses what is none', async () => {
    const { url } = await start();
    expect((await ask(`${url}/v1/list?limit=7`)).body).toEqual({ limit: 7 });
    expect((await ask(`${url}/v1/list`)).body).toEqual({ limit: 5 });
    expect((await ask(`${url}/v1/list?limit=many`)).body.detail).toContain('query: /limit must be integer');
  });

  it('maps what never reaches a handler to the catalogue', async () => {
    const { url, port } = await start();
    expect((await ask(`${url}/nowhere`)).body).toMatchObject({ status: 404, code: 'ROUTE_NOT_FOUND' });
    expect((await ask(`${url}/v1/things`, post('{'))).body.code).toBe('REQUEST_INVALID');
    expect((await ask(`${url}/%E0%A4%A`)).body.code).toBe('REQUEST_INVALID');
    expect((await ask(`${url}/v1/things`, post('a', { 'content-type': 'text/plain' }))).body.code).toBe(
      'REQUEST_INVALID',
    );
    const large = await ask(`${url}/v1/things`, post({ name: 'x'.repeat(2000), quality: 1 }));
    expect(large.body).toMatchObject({ status: 413, code: 'REQUEST_TOO_LARGE', context: { bytes_max: 1000 } });
    expect(await rawAnswer(port, 'garbage\r\n\r\n')).toMatch(/^HTTP\/1.1 400 [\s\S]*REQUEST_INVALID/);
  });

  it('hides the message of an unexpected fault and sends retry-after when busy', async () => {
    const { url } = await start();
    const crash = await ask(`${url}/v1/crash`);
    expect(crash.body).toMatchObject({ status: 500, code: 'INTERNAL' });
    expect(JSON.stringify(crash.body)).not.toContain('secret');
    const busy = await ask(`${url}/v1/busy`);
    expect([busy.status, busy.headers.get('retry-after')]).toEqual([429, '1']);
  });

  it('asks for the token on every route that is not open', async () => {
    const { url } = await start('s3cret');
    const missing = await ask(`${url}/v1/list`);
    expect([missing.status, missing.body.code]).toEqual([401, 'TOKEN_MISSING']);
    expect(missing.headers.get('www-authenticate')).toBe('Bearer');
    const wrong = await ask(`${url}/v1/list`, { headers: { authorization: 'Bearer s3creT' } });
    expect([wrong.status, wrong.body.code]).toEqual([403, 'TOKEN_INVALID']);
    expect((await ask(`${url}/v1/list`, { headers: { authorization: 'bearer s3cret' } })).status).toBe(200);
    expect((await ask(`${url}/v1/health?x=1`)).status).toBe(200);
    expect((await fetch(`${url}/web/page`)).status).toBe(200);
    expect((await ask(`${url}/nowhere`)).status).toBe(401);
  });

  it('refuses requests of web pages of another origin', async () => {
    const { url } = await start();
    const foreign = await ask(`${url}/v1/things`, post({ quality: 1 }, { origin: 'http://evil.example' }));
    expect(foreign.body).toMatchObject({ code: 'REQUEST_INVALID', detail: expect.stringContaining('evil.example') });
    expect((await ask(`${url}/v1/things`, post({ quality: 1 }, { origin: url }))).status).toBe(200);
  });
});

describe('acceptAnyJson', () => {
  it('reads JSON under any content-type, compressed or not, and answers failures as the reference does', async () => {
    const { url } = await start();
    const form = { 'content-type': 'application/x-www-form-urlencoded' };
    expect((await ask(url, post({ a: 1 }, form))).body).toEqual({ echo: { a: 1 } });
    const zipped = { method: 'POST', headers: { 'content-encoding': 'gzip' }, body: gzipSync('{"a":2}') };
    expect((await ask(url, zipped)).body).toEqual({ echo: { a: 2 } });
    const bomb = await ask(url, { ...zipped, body: gzipSync(JSON.stringify('x'.repeat(100_000))) });
    expect([bomb.status, bomb.body]).toEqual([
      413,
      { result: 'Failed', reason: expect.stringContaining('1000 bytes'), code: 'REQUEST_TOO_LARGE' },
    ]);
    const text = await ask(url, { ...zipped, body: 'plain' });
    expect([text.status, text.body.result]).toEqual([400, 'Failed']);
    expect((await ask(url, post('{'))).body).toMatchObject({ result: 'Failed', code: 'REQUEST_INVALID' });
    expect((await ask(url, post('{}', { 'content-encoding': 'br' }))).body.reason).toContain('br');
  });
});

describe('listen', () => {
  it('knows loopback', () => {
    expect(['127.0.0.1', '127.9.9.9', '::1', 'localhost'].every(isLoopback)).toBe(true);
    expect(['0.0.0.0', '::', '10.0.0.1', '127.evil.example', '128.0.0.1'].some(isLoopback)).toBe(false);
  });

  it('wants a token off loopback unless told otherwise', async () => {
    app = createHttpServer({ token: null, logger: silentLogger });
    const open = { host: '0.0.0.0', port: 0, token: null };
    await expect(listen(app, open)).rejects.toMatchObject({ code: 'TOKEN_REQUIRED' });
    await expect(listen(app, { ...open, insecure: true })).resolves.toMatchObject({ host: '0.0.0.0' });
  });

  it('names the address that cannot be bound', async () => {
    const { port } = await start();
    const other = createHttpServer({ token: null, logger: silentLogger });
    await expect(listen(other, { host: '127.0.0.1', port, token: null })).rejects.toMatchObject({
      code: 'ADDRESS_IN_USE',
      context: { port },
    });
    const absent = { host: '192.0.2.1', port: 0, token: 't' };
    await expect(listen(other, absent)).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
    await other.close();
  });
});

function rawAnswer(port: number, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer = '';
    const socket = connect(port, '127.0.0.1', () => socket.write(text));
    socket.on('data', (chunk) => {
      answer += chunk;
    });
    socket.on('close', () => resolve(answer));
    socket.on('error', reject);
  });
}
