import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { LINK_SILENT_MS, SilenceWatch } from './silence-watch.js';

beforeEach(() => vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setImmediate', 'performance'] }));
afterEach(() => vi.useRealTimers());

/** The look after a turn of the event loop, which the fake clock gives a millisecond. */
const TURN_MS = 1;

function watching() {
  const silences: number[] = [];
  const beganMs = performance.now();
  const watch = new SilenceWatch(() => silences.push(Math.round(performance.now() - beganMs)));
  return { watch, silences };
}

it('tells once of a peer that does not answer, and again only after it was heard', async () => {
  const { watch, silences } = watching();
  for (let frames = 0; frames < 30; frames++) {
    watch.wrote();
    await vi.advanceTimersByTimeAsync(33);
  }
  expect(silences).toEqual([LINK_SILENT_MS + TURN_MS]);
  watch.heard();
  watch.wrote();
  await vi.advanceTimersByTimeAsync(LINK_SILENT_MS + 1);
  expect(silences).toHaveLength(2);
});

it('counts from the first write after it was heard last', async () => {
  const { watch, silences } = watching();
  for (let frames = 0; frames < 20; frames++) {
    watch.wrote();
    await vi.advanceTimersByTimeAsync(2);
    if (frames < 10) watch.heard();
    await vi.advanceTimersByTimeAsync(31);
  }
  expect(silences).toEqual([10 * 33 + LINK_SILENT_MS + TURN_MS]);
});

it('says nothing when nothing was sent, nor after its end', async () => {
  const { watch, silences } = watching();
  await vi.advanceTimersByTimeAsync(1_000);
  watch.wrote();
  watch.stop();
  await vi.advanceTimersByTimeAsync(1_000);
  expect(silences).toEqual([]);
});
