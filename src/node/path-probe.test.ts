/** Two agents and a shaped path between them. */
import { request } from 'node:http';
import { expect, onTestFinished, test } from 'vitest';
import { PROBE_BYTES_MAX } from '../contracts/limits.js';
import { Shaper, type ShaperOptions } from '../links/shaper.js';
import { startAgent, type TestAgent } from './agent.testing.js';

async function over(options: ShaperOptions, token: string | null = null) {
  const near = await startAgent({ token });
  const far = await startAgent({ nodeId: 2, token });
  const path = new Shaper(options);
  onTestFinished(() => path.close());
  const at = await path.forward({ kind: 'http', url: far.url });
  return { near, far, path, url: at.kind === 'http' ? at.url : '' };
}

test('sees the round trip and the rate of a long thin path, and sends no more than it must', async () => {
  const { near, path, url } = await over({ delayMs: 20, mbitPerS: 20 }, 'secret');
  const { rtt_ms, mbit_per_s, bytes } = await near.client.probe({ url, target_node: 2, bytes_max: PROBE_BYTES_MAX });
  expect(rtt_ms).toBeGreaterThanOrEqual(40);
  expect(mbit_per_s).toBeGreaterThan(0);
  expect(mbit_per_s).toBeLessThan(30);
  expect(bytes).toBeLessThanOrEqual(PROBE_BYTES_MAX / 16 + PROBE_BYTES_MAX / 4);
  expect(path.passedBytes.in).toBeGreaterThanOrEqual(bytes);
  expect(path.passedBytes.in).toBeLessThan(bytes + 20_000);
});

test('measures the round trip alone when it may send nothing', async () => {
  const { near, url } = await over({});
  const result = await near.client.probe({ url, target_node: 2, bytes_max: 0 });
  expect(result).toMatchObject({ mbit_per_s: null, bytes: 0 });
  expect(result.rtt_ms).toBeGreaterThan(0);
});

test('keeps the round trip when the path is too slow for a body', async () => {
  const { near, url } = await over({ mbitPerS: 0.2 });
  const result = await near.client.probe({ url, target_node: 2, bytes_max: PROBE_BYTES_MAX });
  expect(result.mbit_per_s).toBeNull();
  expect(result.rtt_ms).toBeGreaterThan(0);
});

test('says why it cannot: no such node, another probe, a bad request', async () => {
  const { near, url } = await over({ delayMs: 20 });
  const probe = (to: string, bytes_max = 0) => near.client.probe({ url: to, target_node: 2, bytes_max });
  await expect(probe('http://127.0.0.1:1')).rejects.toMatchObject({ code: 'NODE_UNREACHABLE' });
  await expect(probe('nowhere')).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
  await expect(probe(url, PROBE_BYTES_MAX + 1)).rejects.toMatchObject({ code: 'REQUEST_INVALID' });
  const first = probe(url);
  await expect(probe(url)).rejects.toMatchObject({ code: 'PROBE_BUSY', status: 503 });
  expect((await first).rtt_ms).toBeGreaterThanOrEqual(40);
});

test('takes no more of a body than it must, from nobody without the token', async () => {
  const agent = await startAgent({ token: 'secret' });
  const headers = { authorization: 'Bearer secret' };
  expect(await posted(agent, { ...headers, 'content-length': PROBE_BYTES_MAX + 1 })).toBe(413);
  expect(await posted(agent, { ...headers, 'transfer-encoding': 'chunked' })).toBe(413);
  expect(await posted(agent, { 'content-length': 10 })).toBe(401);
});

/** Status of an answer to a body whose end never comes. */
function posted({ address }: TestAgent, headers: Record<string, string | number>): Promise<number | undefined> {
  const { host, port } = address;
  return new Promise((resolve, reject) => {
    const sent = request({ host, port, method: 'POST', path: '/v1/probes/sink', headers, agent: false });
    sent.once('response', (response) => {
      resolve(response.statusCode);
      sent.destroy();
    });
    sent.once('error', reject);
    sent.write('x');
  });
}
