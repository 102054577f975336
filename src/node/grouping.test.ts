import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type GroupingHandler, type GroupingLink, groupHandlers } from './grouping.js';

const own = (handler_id: number): GroupingHandler => ({ handler_id, host: 'own' });
const shared = (handler_id: number): GroupingHandler => ({ handler_id, host: 'shared' });
const link = (source_handler: number, target_handler: number): GroupingLink => ({ source_handler, target_handler });

test('a cheap handler joins the model handler that it feeds, through other cheap ones', () => {
  const groups = groupHandlers({
    handlers: [own(1), shared(2), shared(3), own(4)],
    links: [link(1, 2), link(2, 3), link(3, 4)],
  });
  expect(groups).toEqual([[1], [2, 3, 4]]);
});

test('one that feeds nothing here joins what feeds it', () => {
  const groups = groupHandlers({
    handlers: [own(1), shared(2), own(3), shared(4), shared(5)],
    // encode 2 feeds another node; draw 4 takes frames of 1 and boxes of 3, render 5 shows them
    links: [link(1, 2), link(2, 99), link(1, 4), link(3, 4), link(4, 5)],
  });
  expect(groups).toEqual([[1, 2, 4, 5], [3]]);
});

test('linked cheap handlers without a model handler share one host; unlinked ones do not', () => {
  const groups = groupHandlers({ handlers: [shared(1), shared(2), shared(3)], links: [link(1, 2)] });
  expect(groups).toEqual([[1, 2], [3]]);
});

const graph = fc.integer({ min: 1, max: 12 }).chain((count) =>
  fc.record({
    handlers: fc.tuple(
      ...Array.from({ length: count }, (_, id) => fc.boolean().map((isOwn) => (isOwn ? own(id) : shared(id)))),
    ) as unknown as fc.Arbitrary<GroupingHandler[]>,
    links: fc.array(
      fc.tuple(fc.nat(count + 2), fc.nat(count + 2)).map(([a, b]) => link(Math.min(a, b), Math.max(a, b) + 1)),
      { maxLength: 20 },
    ),
  }),
);

test('every handler is in exactly one group, and no group has two handlers that want their own', () => {
  fc.assert(
    fc.property(graph, ({ handlers, links }) => {
      const groups = groupHandlers({ handlers, links });
      expect(groups.flat().sort((a, b) => a - b)).toEqual(handlers.map((one) => one.handler_id));
      for (const group of groups) {
        const anchors = group.filter((id) => handlers[id]!.host === 'own');
        expect(anchors.length).toBeLessThanOrEqual(1);
      }
    }),
  );
});

test('members of a group are connected by links of the session on this node', () => {
  fc.assert(
    fc.property(graph, ({ handlers, links }) => {
      const known = new Set(handlers.map((one) => one.handler_id));
      const inner = links.filter((one) => known.has(one.source_handler) && known.has(one.target_handler));
      for (const group of groupHandlers({ handlers, links })) {
        const reached = new Set([group[0]!]);
        for (const id of reached) {
          for (const { source_handler, target_handler } of inner) {
            if (source_handler === id) reached.add(target_handler);
            if (target_handler === id) reached.add(source_handler);
          }
        }
        expect(group.every((id) => reached.has(id))).toBe(true);
      }
    }),
  );
});

test('a handler that reaches a model handler never lands in a host without one', () => {
  fc.assert(
    fc.property(graph, ({ handlers, links }) => {
      const groups = groupHandlers({ handlers, links });
      for (const { source_handler, target_handler } of links) {
        if (handlers[target_handler]?.host !== 'own' || handlers[source_handler]?.host !== 'shared') continue;
        const group = groups.find((one) => one.includes(source_handler))!;
        expect(group.some((id) => handlers[id]!.host === 'own')).toBe(true);
      }
    }),
  );
});
