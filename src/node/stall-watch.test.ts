import { expect, test } from 'vitest';
import type { HandlerStats } from '../contracts/node.js';
import type { HostHandlerStatus } from '../handler-kit/host-protocol.js';
import { StallWatch } from './stall-watch.js';

const BOUNDS = { pingPeriodMs: 500, stallFloorMs: 5_000, stallTimes: 20, firstPacketMs: 30_000 };

function status(at_work: number | null, service_ms_p95: number | null, handler_id = 4): HostHandlerStatus {
  const stats = { service_ms_p95 } as HandlerStats;
  return { handler_id, state: 'running', stats, links: [], settled: -1, busy_ms: 0, at_work };
}

/** Pings until it is said to hang; `null` when it is not within `max`. */
function looksUntilStalled(statusAt: (look: number) => HostHandlerStatus[], max = 1_000): number | null {
  const watch = new StallWatch(BOUNDS);
  for (let look = 1; look <= max; look++) if (watch.look('host', statusAt(look)) !== null) return look;
  return null;
}

test('a packet that stays inside counts at many times what others took, and never below the floor', () => {
  // The first look only learns of the packet.
  expect(looksUntilStalled(() => [status(7, 20)])).toBe(11);
  expect(looksUntilStalled(() => [status(7, 1_000)])).toBe(41);
});

test('the first packet of a process has longer', () => {
  expect(looksUntilStalled(() => [status(0, null)])).toBe(61);
});

test('progress, rest and handlers with their own bound are no stall', () => {
  expect(looksUntilStalled((look) => [status(Math.floor(look / 9), 20)])).toBeNull();
  expect(looksUntilStalled((look) => [status(look % 9 === 0 ? null : 7, 20)])).toBeNull();
  expect(looksUntilStalled(() => [status(null, 20)])).toBeNull();
});

test('one of several handlers is enough, and says which, where and for how long', () => {
  const watch = new StallWatch(BOUNDS);
  let found = null;
  for (let look = 0; look < 11; look++)
    found = watch.look('session 3 handlers 4, 5', [status(look, 20), status(7, 20, 5)]);
  expect(found).toMatchObject({
    code: 'HANDLER_STALLED',
    message: 'session 3 handlers 4, 5: handler 5 has not ended packet 7 in 5.0 s (p95 20 ms), killed',
  });
});

test('the next process begins anew', () => {
  const watch = new StallWatch(BOUNDS);
  for (let look = 0; look < 10; look++) watch.look('host', [status(7, 20)]);
  watch.reset();
  expect(watch.look('host', [status(7, 20)])).toBeNull();
});
