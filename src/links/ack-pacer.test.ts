import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { AckPacer } from './ack-pacer.js';
import { ACK_BYTES, ACK_DELAY_MS, ACK_PACKETS } from './link.js';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

function pacer() {
  const send = vi.fn();
  return { send, acks: new AckPacer(send) };
}

test('a little progress is told after a while, all of it at once', () => {
  const { send, acks } = pacer();
  acks.progress(0, 100, false);
  acks.progress(1, 100, false);
  vi.advanceTimersByTime(ACK_DELAY_MS - 1);
  expect(send).not.toHaveBeenCalled();
  vi.advanceTimersByTime(1);
  expect(send).toHaveBeenCalledOnce();
  vi.runAllTimers();
  expect(send).toHaveBeenCalledOnce();
});

test.each([
  ['packets', ACK_PACKETS, 1, false],
  ['bytes', 1, ACK_BYTES, false],
  ['by reference', 1, 0, true],
])('enough progress is told in the same turn: %s', (_, packets, bytes, atOnce) => {
  const { send, acks } = pacer();
  for (let sequence = 0; sequence < packets; sequence++) acks.progress(sequence, bytes, atOnce);
  vi.advanceTimersByTime(0);
  expect(send).toHaveBeenCalledOnce();
  acks.progress(packets, 0, false);
  vi.advanceTimersByTime(ACK_DELAY_MS);
  expect(send).toHaveBeenCalledTimes(2);
});

test('progress that is no progress (a packet that came again) is told too', () => {
  const { send, acks } = pacer();
  for (let round = 1; round <= 3; round++) {
    acks.progress(0, 10, false);
    vi.runAllTimers();
    expect(send).toHaveBeenCalledTimes(round);
  }
});

test('a receiver that is closed tells nothing', () => {
  const { send, acks } = pacer();
  acks.progress(0, 10, false);
  acks.progress(9, 10, true);
  acks.stop();
  acks.progress(10, 10, true);
  vi.runAllTimers();
  expect(send).not.toHaveBeenCalled();
});
