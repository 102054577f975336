import { expect, test } from 'vitest';
import type { ResolvedBlueprint } from '../contracts/blueprint.js';
import { inferenceOf, threadsMax } from './inference.js';
import type { SharedModelView } from './shared-models.js';

const threads = (count: number) => ({ count, why: `${count} wanted` });
const model = (name: string, count: number, holders: SharedModelView['holders']): SharedModelView => ({
  ...{ model: name, pid: 71, threads: threads(count), restarts: 0, users: [], holders },
});
const holder = { session_id: 5, handler_id: 2 };

/** Handler 1 has no model, 2 has one, 3 shares. */
const resolved = {
  handlers: new Map<number, unknown>([
    [1, { type: {}, handler: {} }],
    [2, { type: { share: false }, handler: {} }],
    [3, { type: { share: false }, handler: { share: true } }],
  ]),
} as unknown as ResolvedBlueprint;
const look = { session_id: 5, resolved, threads: threads(2), models: [] };

test('a model of its own has the threads of its host, a shared one those of its process', () => {
  expect(inferenceOf({ ...look, handler_id: 1 })).toEqual({});
  expect(inferenceOf({ ...look, handler_id: 2 })).toEqual({ threads: 2, threads_why: '2 wanted' });
  const other = { session_id: 6, handler_id: 3 };
  const held = { session_id: 5, handler_id: 3 };
  const models = [model('pnet', 1, [held, other]), model('onet', 4, [held]), model('elsewhere', 3, [other, holder])];
  const shared = inferenceOf({ ...look, handler_id: 3, models });
  expect(shared.shared_models?.map((one) => [one.model, one.threads, one.threads_why, one.handlers])).toEqual([
    ['pnet', 1, '1 wanted', 2],
    ['onet', 4, '4 wanted', 1],
  ]);
  expect(shared).not.toHaveProperty('threads');
});

test('of several models the most threads count', () => {
  const models = [1, 4].map((count) => model(`of ${count}`, count, [{ session_id: 5, handler_id: 3 }]));
  expect([1, 2, 3].map((handler_id) => threadsMax(inferenceOf({ ...look, handler_id, models })))).toEqual([null, 2, 4]);
});
