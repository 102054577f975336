import fc from 'fast-check';
import { expect, test } from 'vitest';
import { InOrder } from './in-order.js';

const turns = async (count: number) => {
  for (let turn = 0; turn < count; turn++) await new Promise(setImmediate);
};

test('finishes in the order of the begins, with at most so many open, whatever takes how long', async () => {
  const anyWork = fc.array(fc.tuple(fc.nat(4), fc.nat(3)), { maxLength: 20 });
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 5 }), anyWork, async (concurrency, work) => {
      const inOrder = new InOrder(concurrency);
      const finished: number[] = [];
      let open = 0;
      for (const [index, [workTurns, finishTurns]] of work.entries()) {
        open += 1;
        expect(open).toBeLessThanOrEqual(concurrency);
        await inOrder.add(
          turns(workTurns).then(() => async () => {
            await turns(finishTurns);
            finished.push(index);
            open -= 1;
          }),
        );
      }
      while (open > 0) await turns(1);
      expect(finished).toEqual(work.map((_, index) => index));
    }),
    { numRuns: 50 },
  );
});
