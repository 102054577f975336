import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { LedgerRow } from '../contracts/report.js';
import { systemClock } from '../std/clock.js';
import { ACCOUNT_PERIOD_MS, Account } from './account.js';

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date', 'performance'] });
});
afterEach(() => {
  vi.useRealTimers();
});

function setup(accounted = -1) {
  const messages: LedgerRow[][] = [];
  const send = (rows: readonly LedgerRow[]) => messages.push([...rows]);
  const account = new Account({ sessionId: 1, handlerId: 5, accounted, clock: systemClock(), send });
  const runs = () =>
    messages.flat().map((row) => [row.fate, row.at_handler, row.first_sequence, row.last_sequence, row.packets]);
  return { account, messages, runs };
}

test('the first run leaves at once, later ones together', () => {
  const { account, messages, runs } = setup();
  account.note('delivered', 0, 0);
  expect(messages).toHaveLength(1);
  for (let sequence = 1; sequence < 10; sequence++) account.note('delivered', sequence, sequence);
  account.note('late', 10, 12, 3);
  expect(messages).toHaveLength(1);
  vi.advanceTimersByTime(ACCOUNT_PERIOD_MS);
  expect(runs()).toEqual([
    ['delivered', null, 0, 0, 1],
    ['delivered', null, 1, 9, 9],
    ['late', 3, 10, 12, 3],
  ]);
  expect(messages).toHaveLength(2);
});

test('what an earlier process accounted for is not counted again', () => {
  const { account, runs } = setup(7);
  account.settled(5);
  account.note('delivered', 3, 7);
  account.note('queue', 6, 9, 2);
  account.settled(20);
  account.note('delivered', 15, 21);
  account.flush();
  expect(runs()).toEqual([
    ['queue', 2, 8, 9, 2],
    ['settled', null, 0, 20, 21],
    ['delivered', null, 21, 21, 1],
  ]);
});
