/** The graph behind CenterNet's maps against a plain search for peaks. */
import fc from 'fast-check';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { afterAll, expect, it } from 'vitest';
import { centreBoxes, PAIRS_MAX } from './centre-boxes.js';
import { readHead } from './heads.js';
import { OnnxGraph } from './onnx-graph.js';

const CLASSES = 3;
const graph = new OnnxGraph({ name: 'centres' });
const maps = {
  classes: CLASSES,
  logits: graph.input('logits', 'float', [1, CLASSES, 'rows', 'columns']),
  sides: graph.input('sides', 'float', [1, 4, 'rows', 'columns']),
};
graph.output('boxes', centreBoxes(graph, maps), [1, PAIRS_MAX, 6]);
const session = await InferenceSession.create(graph.toBytes());
afterAll(() => session.release());

interface Maps {
  readonly rows: number;
  readonly columns: number;
  readonly logits: Float32Array;
  readonly sides: Float32Array;
}

async function boxesOf({ rows, columns, logits, sides }: Maps, thresh: number) {
  const { boxes } = await session.run({
    logits: new Tensor('float32', logits, [1, CLASSES, rows, columns]),
    sides: new Tensor('float32', sides, [1, 4, rows, columns]),
  });
  const reading = { width: columns * 4, height: rows * 4, thresh };
  return readHead('end_to_end', { boxes: { data: boxes!.data as Float32Array, dims: boxes!.dims } }, reading);
}

/** Cells that no neighbour of their class exceeds, with boxes of 4 input pixels to a cell. */
function peaks({ rows, columns, logits, sides }: Maps, logitMin: number) {
  const at = (label: number, row: number, column: number) =>
    logits[(label * rows + row) * columns + column] ?? Number.NaN;
  const inside = (row: number, column: number) => row >= 0 && column >= 0 && row < rows && column < columns;
  const found = [];
  for (let index = 0; index < logits.length; index++) {
    const [label, cell] = [Math.floor(index / (rows * columns)), index % (rows * columns)];
    const [row, column] = [Math.floor(cell / columns), cell % columns];
    const around = [-1, 0, 1].flatMap((dy) => [-1, 0, 1].map((dx) => [row + dy, column + dx] as const));
    const higher = around.some(([y, x]) => inside(y, x) && at(label, y, x) > logits[index]!);
    if (higher || logits[index]! < logitMin) continue;
    const [left, top, right, bottom] = [0, 1, 2, 3].map((side) => sides[side * rows * columns + cell]!);
    const rect = { x: column * 4 - left!, y: row * 4 - top!, w: left! + right!, h: top! + bottom! };
    found.push({ label, prob: 1 / (1 + Math.exp(-logits[index]!)), ...rect });
  }
  return found;
}

const rounded = (values: ReturnType<typeof peaks>) =>
  values
    .map((one) => JSON.stringify(one, (_, value) => (typeof value === 'number' ? +value.toFixed(3) : value)))
    .sort();

/** Whole numbers, so that neighbours are often equally likely; few places are over the threshold of 0.5. */
const someMaps = fc
  .record({ rows: fc.integer({ min: 32, max: 40 }), columns: fc.integer({ min: 32, max: 48 }), seed: fc.integer() })
  .map(({ rows, columns, seed }): Maps => {
    let state = seed >>> 0;
    const next = () => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return state / 2 ** 32;
    };
    const area = rows * columns;
    const logits = Float32Array.from({ length: CLASSES * area }, () => (next() < 0.15 ? Math.ceil(next() * 4) : -6));
    return { rows, columns, logits, sides: Float32Array.from({ length: 4 * area }, () => Math.floor(next() * 50)) };
  });

it('gives the peaks of every class, borders and equal neighbours included', async () => {
  await fc.assert(
    fc.asyncProperty(someMaps, async (some) => {
      expect(rounded(await boxesOf(some, 0.5))).toEqual(rounded(peaks(some, 0)));
    }),
    { numRuns: 30 },
  );
});

it('keeps the likeliest where more places are over the threshold than it looks at', async () => {
  const [rows, columns] = [40, 40];
  const logits = new Float32Array(CLASSES * rows * columns).fill(1);
  logits[5 * columns + 5] = 4;
  const crowd = await boxesOf({ rows, columns, logits, sides: new Float32Array(4 * rows * columns).fill(2) }, 0.5);
  expect(crowd.length).toBeLessThanOrEqual(PAIRS_MAX);
  expect(crowd[0]).toMatchObject({ label: 0, x: 18, y: 18, w: 4, h: 4 });
  expect(crowd[0]!.prob).toBeCloseTo(1 / (1 + Math.exp(-4)), 5);
});
