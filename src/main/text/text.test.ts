import { expect, test } from 'vitest';
import type { LossDrop, SinkLoss } from '../../contracts/loss.js';
import type { SessionPlan } from '../../contracts/plan.js';
import type { Trace, TraceStep } from '../../contracts/trace.js';
import { outageOf, ranges } from '../demo-watch.js';
import { lossText } from './loss-text.js';
import { choiceLine, explainText, refusalText } from './plan-text.js';
import { inferenceLines } from './session-text.js';
import { bytes, left, ms, right, table } from './table.js';
import { traceText } from './trace-text.js';

test('tables align, numbers to the right, and end without spaces', () => {
  const text = table({
    columns: [left('name'), right('n'), left('note')],
    rows: [
      ['a', '10', ''],
      ['long', '5', 'x'],
    ],
    indent: 1,
  });
  expect(text).toBe(' name   n  note\n a     10\n long   5  x');
});

test('figures keep the digits that matter', () => {
  expect([ms(0.424), ms(8.06), ms(143.4), ms(null), ms(Number.NaN)]).toEqual(['0.42', '8.1', '143', '-', '-']);
  expect([bytes(930), bytes(58_000), bytes(921_600), bytes(1_500_000)]).toEqual([
    '930 B',
    '57 KiB',
    '900 KiB',
    '1.4 MiB',
  ]);
});

const handler = {
  handler_id: 1,
  handler_name: 'detect',
  handler_type: 18,
  node_id: 2,
  node_name: 'gpu-1',
  alternative: 'ssd',
  params: {},
  post: false,
  compute_ms: 23,
  queue_ms: 4,
  cpu_ms_per_s: 1,
  gpu_ms_per_s: 0,
  mem_mb: 250,
  profile: 'declared' as const,
  candidates: [
    { node_id: 2, node_name: 'gpu-1', alternative: 'ssd', compute_ms: 23, profile: 'declared' as const },
    {
      ...{ node_id: 1, node_name: 'edge-1', alternative: 'ssd', compute_ms: 90, profile: 'measured' as const },
      rejected: 'memory 310 MiB free < 420 MiB',
    },
  ],
};
const plan: SessionPlan = {
  ...{ service_name: 'face_recognition', variant: 'ssd', accuracy: 0.957, latency_ms: 71.2, fps: 30, source_node: 0 },
  handlers: [handler],
  links: [],
  reasons: ['the most accurate variant that fits'],
  runner_up: { variant: 'tiny', accuracy: 0.9, latency_ms: 40, placement: 'detect @gpu-1', why_not: 'less accurate' },
};

test('a choice is one line; an explanation names what rejected each candidate', () => {
  expect(choiceLine(plan)).toBe(
    'chose detect=ssd @gpu-1; predicted p95 71.2 ms, accuracy 0.957\n  runner-up tiny (detect @gpu-1), p95 40.0 ms, accuracy 0.900: less accurate',
  );
  const text = explainText(plan);
  expect(text).toContain('- the most accurate variant that fits');
  expect(text).toMatch(/\* +ssd +gpu-1 +23\.0 +declared +chosen/);
  expect(text).toMatch(/ssd +edge-1 +90\.0 +measured +memory 310 MiB free < 420 MiB/);
});

test('a refusal ends with the objective that would fit', () => {
  const candidates = [{ handler_name: 'detect', candidates: [...handler.candidates] }];
  const nearest = { fps: 10, latency_ms_max: 120 };
  const text = refusalText({ service_name: 's', reasons: ['80 ms is too short'], candidates, nearest });
  expect(text).toMatch(/^no placement of s meets the objective\n {2}- 80 ms is too short\n/);
  expect(text).toMatch(/ssd @edge-1 +memory 310 MiB free < 420 MiB/);
  expect(text).toMatch(/nearest objective that fits: 10 fps, p95 <= 120 ms$/);
});

test('an outage is the longest gap between delivered frames after the kill', () => {
  const at = (time: number, sequence: number, dropped: string | null = null) => ({
    at: time,
    sequence,
    dropped,
    labels: [],
  });
  const arrivals = [
    at(1, 0),
    at(1.2, 1),
    at(1.3, 2),
    at(3, 3, 'failover 4'),
    at(3, 4, 'failover 4'),
    at(3.1, 6),
    at(3.3, 7),
  ];
  const outage = outageOf(arrivals, 1.25);
  expect(outage?.gapMs).toBeCloseTo(1800);
  expect(outage?.resumedAt).toBe(3.1);
  expect(outageOf(arrivals, 3.4)).toBeNull();
  expect(ranges([5, 1, 2, 3, 7, 8])).toBe('1-3, 5, 7-8');
});

test('a loss line has every reason that took something, where it did, and failover always', () => {
  const drop = (reason: LossDrop['reason'], packets: number, handler_name: string | null = null) => ({
    ...{ reason, packets, handler_name, handler_id: handler_name === null ? null : 4 },
  });
  const sink: SinkLoss = {
    ...{ handler_id: 8, handler_name: 'render', first_sequence: 0, next_sequence: 9000, sent: 9000 },
    ...{ delivered: 8961, delivered_by_settlement: 0, skipped: 0, in_flight: 0 },
    drops: [drop('queue', 9, 'detect'), drop('late', 30, 'recognize')],
  };
  const loss = { session_id: 1, timestamp: 0, since: null, ended: false, sinks: [sink] };
  expect(lossText(loss)).toBe(
    'sent 9000 = delivered 8961 + late 30 (recognize) + queue 9 (detect) + failover 0, sequences 0-8999',
  );
  const torn: SinkLoss = {
    ...{ ...sink, delivered: 20, delivered_by_settlement: 4, skipped: 2, in_flight: 1, sent: 30, next_sequence: 30 },
    drops: [drop('failover', 4, 'detect'), drop('failover', 3)],
  };
  const nothing = { ...sink, handler_name: 'log', sent: 0, next_sequence: 0, delivered: 0, drops: [] };
  expect(lossText({ ...loss, ended: true, sinks: [torn, nothing] })).toBe(
    [
      'render: sent 30 = delivered 20 (4 by settlement) + skipped 2 + failover 7 (detect 4, not reported 3) + in flight at the end 1, sequences 0-29',
      'log: sent 0 = delivered 0 + failover 0',
    ].join('\n'),
  );
});

test('a traced packet shows its steps and the longest of them; a correction of clocks is said', () => {
  const figures = { p50: 10, p95: 20.25, p99: 30 };
  const step = (kind: TraceStep['kind'], handler_name: string, took: number) => ({
    ...{ kind, handler_id: 1, handler_name, ms: took },
  });
  const trace: Trace = {
    ...{ session_id: 1, since: null, packets: 2, incomplete: 1, truncated: true, first_sequence: 4, last_sequence: 5 },
    ...{ corrected: { packets: 1, ms_max: 0.3 }, end_to_end: figures },
    handlers: [{ handler_id: 2, handler_name: 'detect', node_name: 'edge', packets: 2, queue: null, compute: figures }],
    links: [
      {
        ...{ source_handler: 1, target_handler: 2, source_name: 'capture', target_name: 'detect', packets: 2 },
        ...{ send: figures, link: figures },
      },
    ],
    slowest: [
      {
        ...{ sequence: 5, sink: 9, started_at: 0, end_to_end_ms: 44.64, bottleneck: 3 },
        steps: [
          ...[step('compute', 'capture', 2), step('send', 'capture', 0.04), step('link', 'detect', 1.6)],
          ...[step('queue', 'detect', 23), step('compute', 'detect', 18)],
        ],
      },
    ],
  };
  const text = traceText(trace).split('\n');
  expect(text.slice(0, 6)).toEqual([
    '2 packets, sequences 4-5; 1 more in flight, dropped or not reported yet',
    'older packets were left out: more than are read at once',
    '1 arrived up to 0.30 ms before they left, by the clocks: shown as 0',
    'end to end p50 10.0 / p95 20.3 / p99 30.0 ms',
    '',
    '       5  44.6 ms: capture 2.0 | link 1.6 | queue 23.0 <- bottleneck | detect 18.0',
  ]);
  expect(text.at(-1)).toMatch(/^capture -> detect +2 +10.0 \/ 20.3 \/ 30.0 +10.0 \/ 20.3 \/ 30.0$/);
  const none = { ...trace, end_to_end: null, slowest: [] };
  expect(traceText(none)).toBe('no packet whose way is known, 1 incomplete');
});

test('how models are run, own and shared, with the reasons', () => {
  const shared = { pid: 71, threads: 1, threads_why: 'set by [node] threads', restarts: 0 };
  const lines = inferenceLines([
    { handler_name: 'encode' },
    { handler_name: 'detect', threads: 2, threads_why: '4 cores for 2 inferences at a time' },
    {
      handler_name: 'recognize',
      shared_models: [
        { ...shared, model: 'faceres', handlers: 3 },
        { ...shared, model: 'face_landmark_68', pid: null, handlers: 1 },
      ],
    },
  ]);
  expect(lines).toEqual([
    'detect: 2 threads an inference (4 cores for 2 inferences at a time)',
    'recognize: faceres shared by 3 handlers (process 71), 1 thread an inference (set by [node] threads)',
    'recognize: face_landmark_68 shared by 1 handler (process is being started), 1 thread an inference (set by [node] threads)',
  ]);
});
