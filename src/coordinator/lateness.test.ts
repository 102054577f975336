import { expect, test } from 'vitest';
import type { ObservedSession } from '../contracts/node.js';
import { Lateness } from './lateness.js';
import type { SessionRecord } from './session-record.js';

const SESSION = 7;
const SINK = 2;

/** One running session on one node: capture, then a sink that tells what it is given. */
function rig(latency_ms_max: number | undefined) {
  const handler = (handler_id: number) => ({ handler_id, node_id: 0 });
  const record = {
    stored: {
      ...{ session_id: SESSION, desired: 'running', generation: 1, ended: null },
      request: { objective: { fps: 10, ...(latency_ms_max === undefined ? {} : { latency_ms_max }) } },
      plan: { handlers: [handler(1), handler(SINK)], links: [{ source_handler: 1, target_handler: SINK }] },
    },
    ...{ nodeIds: new Set([0]), suspension: null },
  } as unknown as SessionRecord;
  const told = { pid: 1, processed: 0, late: 0, through: 0, p95: 50 };
  let nowMs = 0;
  const observed = () =>
    ({
      ...{ session_id: SESSION, epoch: 1, generation: 1, desired: 'running', state: 'running' },
      handlers: [
        {
          ...{ handler_id: SINK, pid: told.pid },
          stats: {
            ...{ processed: told.processed, end_to_end_ms_p95: told.p95, late: told.through },
            drops_seen: { 'late 1': told.late, 'queue 1': 9 * told.processed, skipped: told.processed },
          },
        },
      ],
    }) as unknown as ObservedSession;
  const lateness = new Lateness({ registry: { observed }, clock: { monotonicMs: () => nowMs } });
  return {
    told,
    /** A second with so many frames in time and so many late ones. */
    second(inTime: number, late: number) {
      nowMs += 1000;
      told.processed += inTime;
      told.late += late;
      return lateness.missed([record]);
    },
  };
}

test('frames that were dropped for being late count against the bound, one in twenty does not', () => {
  const { second } = rig(100);
  for (let at = 0; at < 6; at++) expect(second(19, 1)).toEqual([]);
  const seen = Array.from({ length: 6 }, () => second(8, 2)).flat();
  expect(seen.length).toBeGreaterThanOrEqual(4);
  expect(seen.at(-1)).toEqual({
    ...{ kind: 'latency_missed', session_id: SESSION, measured_ms: 120, frames: 6 * 20 + 6 * 10, late: 6 + 6 * 2 },
  });
  for (let at = 0; at < 3; at++) second(10, 0);
  expect(second(10, 0)).toEqual([]);
});

test('what came counts by its p95; without a bound nothing is missed', () => {
  const { told, second } = rig(100);
  told.p95 = 140;
  told.through = 3;
  expect(second(10, 2)).toEqual([
    { kind: 'latency_missed', session_id: SESSION, measured_ms: 140, frames: 12, late: 5 },
  ]);
  const free = rig(undefined);
  for (let at = 0; at < 6; at++) expect(free.second(0, 10)).toEqual([]);
});

test('another process of the sink begins anew', () => {
  const { told, second } = rig(100);
  for (let at = 0; at < 4; at++) second(0, 10);
  Object.assign(told, { pid: 2, processed: 0, late: 0 });
  expect(second(10, 0)).toEqual([]);
});
