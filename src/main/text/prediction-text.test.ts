import { expect, test } from 'vitest';
import type { Explanation } from '../../client/answers.js';
import { predictionTable } from './prediction-text.js';

const stats = {
  fps: 3,
  queue: 0,
  dropped: {},
  service_ms_total: 3800,
  service_ms_p50: 38,
  service_ms_p95: 44,
  queue_ms_p50: 1,
  queue_ms_p95: 4,
};

const explanation = {
  handlers: [
    {
      ...{ handler_id: 1, handler_name: 'capture', node_id: 0, node_name: 'client' },
      ...{
        predicted: { compute_ms: 1, queue_ms: 0, fps: 3 },
        measured: { ...stats, service_ms_p50: 0, service_ms_p95: 0 },
      },
    },
    {
      ...{ handler_id: 2, handler_name: 'detect', node_id: 1, node_name: 'edge' },
      ...{ predicted: { compute_ms: 40, queue_ms: 20, fps: 3 }, measured: stats },
    },
    {
      ...{ handler_id: 3, handler_name: 'draw', node_id: 1, node_name: 'edge' },
      ...{ predicted: { compute_ms: 0.2, queue_ms: 0, fps: 3 }, measured: null },
    },
  ],
  links: [
    {
      ...{ source_handler: 1, target_handler: 2, source_node: 0, target_node: 1 },
      ...{ predicted: { latency_ms: 5, bytes: 1000 }, measured: { latency_ms_p50: 3, latency_ms_p95: 6 } },
    },
    {
      source_handler: 2,
      target_handler: 3,
      source_node: 1,
      target_node: 1,
      predicted: { latency_ms: 0 },
      measured: null,
    },
  ],
  end_to_end: { predicted_ms: 66, measured_ms_p50: 44, measured_ms_p95: 55 },
} as unknown as Explanation;

test('every handler, every link between nodes and the whole, predicted beside measured', () => {
  const rows = predictionTable(explanation, 0)
    .split('\n')
    .map((line) => line.trim().split(/ {2,}/));
  expect(rows).toEqual([
    ['what', 'where', 'predicted ms', 'measured p50', 'p95', 'off', 'fps'],
    ['1 capture', 'client', '1.0', '-', '-', '-', '3.0'],
    ['2 detect', 'edge', '60.0', '39.0', '48.0', '-20 %', '3.0'],
    ['3 draw', 'edge', '0.20', '-', '-', '-', '-'],
    ['capture -> detect', 'client -> edge', '5.0', '3.0', '6.0', '+20 %', '-'],
    ['end to end', '66.0', '44.0', '55.0', '-17 %', '-'],
  ]);
});
