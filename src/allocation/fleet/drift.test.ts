import { expect, test } from 'vitest';
import { Drift } from './drift.js';

const profile = (service_ms: number) => ({
  ...{ handler_type: 7, key: 'model=large', node_id: 1, samples: 50, service_ms, cpu_ms: service_ms, out_bytes: 10 },
});
const path = (latency_ms: number, mbit = 100) => ({ source_node: 0, target_node: 1, latency_ms, mbit });
const kinds = (drift: Drift, ms: number, way = path(10)) =>
  drift.events([profile(ms)], [way]).map((event) => event.kind);

test('a need counts as changed once it has left the noise, and then once', () => {
  const drift = new Drift();
  expect([40, 44, 36, 47].map((ms) => kinds(drift, ms))).toEqual([[], [], [], []]);
  // Slow creeping adds up: it is compared with what was told, not with the last look.
  expect(kinds(drift, 50)).toEqual(['profile_drift']);
  expect([50, 55].map((ms) => kinds(drift, ms))).toEqual([[], []]);
});

test('a way counts as changed by its round trip or its rate', () => {
  const drift = new Drift();
  expect([path(10), path(14), path(7, 60)].map((way) => kinds(drift, 40, way))).toEqual([[], [], []]);
  expect(kinds(drift, 40, path(50))).toEqual(['link_changed']);
  expect(kinds(drift, 40, path(50, 20))).toEqual(['link_changed']);
  expect(kinds(drift, 40, path(52, 20))).toEqual([]);
});
