/**
 * What stands behind CenterNet's maps inside the graph: boxes, so that 80 maps of up to 192 x 192 cells are never copied
 * out of ONNX Runtime nor looked through in JavaScript. The net says for each cell of a grid (CELL_PX input pixels wide) how
 * likely the centre of an object of each class lies there, and how far its four sides are; a cell counts where no
 * neighbour is likelier in its class (a 3 x 3 maximum).
 * The PAIRS_MAX likeliest pairs of a cell and a class are looked at. They lie in as many cells that are likeliest in any
 * class: a cell outside these would have that many pairs above each of its own. So the 80 maps are read once (a maximum over
 * the classes), and everything after works on small tensors. Logits are compared, since the sigmoid keeps their order.
 */
import type { OnnxGraph } from './onnx-graph.js';

/** Input pixels per grid cell. */
const CELL_PX = 4;
/** An object lights up about ten cells; more than 100 boxes are never taken. At most the cells of the smallest input. */
export const PAIRS_MAX = 1024;
/** Probability of a row that is no peak: below every threshold. */
const NO_PEAK = -1;

const NEIGHBOURS = [-1, 0, 1].flatMap((dy) => [-1, 0, 1].map((dx) => ({ dy, dx })));
const FLOAT = 1;

export interface CentreMaps {
  readonly classes: number;
  /** [1, classes, rows, columns] */
  readonly logits: string;
  /** [1, 4, rows, columns]: left, top, right and bottom in input pixels. */
  readonly sides: string;
}

/** @returns [1, PAIRS_MAX, 6]: left, top, right and bottom in input pixels, probability, class; the likeliest first */
export function centreBoxes(graph: OnnxGraph, { classes, logits, sides }: CentreMaps): string {
  const ints = new Integers(graph);
  const [rows, columns] = [2, 3].map((axis) => ints.gather(graph.add('Shape', [logits]), ints.of(axis))) as Pair;
  // Classes last: ONNX Runtime's own layout of a convolution's result is put in this order for nothing.
  const last = graph.add('Transpose', [logits], { perm: [0, 2, 3, 1] });
  const scores = graph.add('Reshape', [last, ints.of(-1, classes)]);
  const likeliest = pairsOf(graph, ints, scores, classes);
  const row = ints.over(likeliest.cell, columns);
  const column = ints.minus(likeliest.cell, ints.times(row, columns));

  // A cell outside the grid is the nearest inside, which is among the neighbours anyway.
  const offsets = (key: 'dy' | 'dx') =>
    graph.constant(
      BigInt64Array.from(NEIGHBOURS, (one) => BigInt(one[key])),
      [NEIGHBOURS.length, 1],
    );
  const y = ints.within(ints.plus(row, offsets('dy')), rows);
  const x = ints.within(ints.plus(column, offsets('dx')), columns);
  const around = ints.plus(ints.times(ints.plus(ints.times(y, columns), x), ints.of(classes)), likeliest.label);
  const values = graph.add('Gather', [graph.add('Reshape', [scores, ints.of(-1)]), around]);
  const highest = graph.add('ReduceMax', [values, ints.of(0)], { keepdims: 0 });
  const prob = graph.add('Where', [
    graph.add('GreaterOrEqual', [likeliest.logit, highest]),
    graph.add('Sigmoid', [likeliest.logit]),
    graph.scalar(NO_PEAK),
  ]);

  const flat = graph.add('Reshape', [sides, ints.of(4, -1)]);
  const distances = graph.add('Gather', [flat, likeliest.cell], { axis: 1 });
  const line = (value: string) => graph.add('Unsqueeze', [value, ints.of(0)]);
  const float = (value: string) => graph.add('Cast', [value], { to: FLOAT });
  const centre = graph.add('Mul', [
    graph.add('Concat', [line(float(column)), line(float(row))], { axis: 0 }),
    graph.scalar(CELL_PX),
  ]);
  const [before, after] = graph.addAll('Split', [distances], { axis: 0, num_outputs: 2 }, 2) as Pair;
  const table = graph.add(
    'Concat',
    [graph.add('Sub', [centre, before]), graph.add('Add', [centre, after]), line(prob), line(float(likeliest.label))],
    { axis: 0 },
  );
  return graph.add('Unsqueeze', [graph.add('Transpose', [table], { perm: [1, 0] }), ints.of(0)]);
}

type Pair = [string, string];

/** The likeliest pairs of a cell and a class, each [PAIRS_MAX]. @param scores [cells, classes] */
function pairsOf(graph: OnnxGraph, ints: Integers, scores: string, classes: number) {
  const count = ints.of(PAIRS_MAX);
  const best = graph.add('ReduceMax', [scores, ints.of(1)], { keepdims: 0 });
  const [, cells] = graph.addAll('TopK', [best, count], { sorted: 0 }, 2) as Pair;
  const own = graph.add('Reshape', [graph.add('Gather', [scores, cells]), ints.of(-1)]);
  const [logit, pair] = graph.addAll('TopK', [own, count], {}, 2) as Pair;
  const slot = ints.over(pair, ints.of(classes));
  const label = ints.minus(pair, ints.times(slot, ints.of(classes)));
  return { logit, label, cell: ints.gather(cells, slot) };
}

/** Arithmetic of int64 tensors. */
class Integers {
  private readonly graph: OnnxGraph;

  constructor(graph: OnnxGraph) {
    this.graph = graph;
  }

  of = (...values: number[]): string => this.graph.int64s(values);
  plus = (one: string, other: string): string => this.graph.add('Add', [one, other]);
  minus = (one: string, other: string): string => this.graph.add('Sub', [one, other]);
  times = (one: string, other: string): string => this.graph.add('Mul', [one, other]);
  over = (one: string, other: string): string => this.graph.add('Div', [one, other]);
  gather = (values: string, places: string): string => this.graph.add('Gather', [values, places]);

  /** 0 <= value < size */
  within(value: string, size: string): string {
    return this.graph.add('Max', [this.graph.add('Min', [value, this.minus(size, this.of(1))]), this.of(0)]);
  }
}
