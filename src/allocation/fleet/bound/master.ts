/**
 * The linear programme over whole placements of sessions (columns), solved by HiGHS: each session at most once, no
 * resource beyond its capacity. One model is kept and grown, so that every round starts from the last basis. Memory of
 * shared models is left out, which only lets more in. Call `dispose`: the model's memory is WebAssembly's.
 */
import { createRequire } from 'node:module';
import type { Highs, Model } from 'highs';
import type { Fleet } from '../model.js';
import type { Placed } from '../state.js';

/** Shares of a capacity below this are left out. */
const SHARE_MIN = 1e-9;

/** Stands for no limit, which the solver does not take, s. */
const SECONDS_MAX = 1e9;

export interface Column {
  readonly task: number;
  readonly placed: Placed;
}

export interface Solved {
  readonly value: number;
  /** Utility of one unit, by resource. */
  readonly prices: Float64Array;
  /** Utility of a place for one more like it, by task. */
  readonly rents: Float64Array;
}

export class Master {
  readonly #highs: Highs;
  readonly #model: Model;
  readonly #fleet: Fleet;
  readonly #columns: Column[] = [];
  /** Row of a resource, -1 where capacity is without a bound, or none, which no placement takes of. */
  readonly #rowOf: Int32Array;

  private constructor(highs: Highs, fleet: Fleet) {
    this.#highs = highs;
    this.#fleet = fleet;
    this.#rowOf = new Int32Array(fleet.resourceCount).fill(-1);
    let rows = fleet.tasks.length;
    fleet.capacity.forEach((capacity, resource) => {
      if (capacity > 0 && Number.isFinite(capacity)) this.#rowOf[resource] = rows++;
    });
    this.#model = highs.createModel({
      ...{ numCols: 0, numRows: rows, sense: highs.constants.objectiveSense.maximize },
      ...{ colCost: [], colLower: [], colUpper: [] },
      rowLower: new Float64Array(rows).fill(-highs.infinity),
      rowUpper: new Float64Array(rows).fill(1),
      matrix: { format: 'csc', numRows: rows, numCols: 0, starts: [0], indices: [], values: [] },
    });
    this.#model.options.set('output_flag', false);
  }

  /** Loads the solver when it is asked for: 3.5 MB of WebAssembly that planning itself does not need. */
  static async of(fleet: Fleet): Promise<Master> {
    // The package's ES entry has types that NodeNext reads as CommonJS; its CommonJS entry has the same function.
    const load = createRequire(import.meta.url)('highs') as () => Promise<Highs>;
    return new Master(await load(), fleet);
  }

  add(columns: readonly Column[]): void {
    if (columns.length === 0) return;
    const starts: number[] = [];
    const indices: number[] = [];
    const values: number[] = [];
    for (const { task, placed } of columns) {
      starts.push(indices.length);
      indices.push(task);
      values.push(1);
      placed.resources.forEach((resource, at) => {
        const row = this.#rowOf[resource]!;
        const share = placed.amounts[at]! / this.#fleet.capacity[resource]!;
        if (row < 0 || share <= SHARE_MIN) return;
        indices.push(row);
        values.push(share);
      });
    }
    starts.push(indices.length);
    const count = columns.length;
    this.#model.addCols({
      cost: Float64Array.from(columns, ({ placed }) => placed.utility),
      lower: new Float64Array(count),
      upper: new Float64Array(count).fill(this.#highs.infinity),
      matrix: {
        ...{ format: 'csc', numRows: this.#model.getDimensions().numRows, numCols: count },
        ...{ starts: Int32Array.from(starts), indices: Int32Array.from(indices), values: Float64Array.from(values) },
      },
    });
    this.#columns.push(...columns);
  }

  /** Null when `msMax` did not do. */
  solve(msMax: number): Solved | null {
    const { modelStatus } = this.#highs.constants;
    const { capacity, tasks, resourceCount } = this.#fleet;
    if (this.#columns.length === 0)
      return { value: 0, prices: new Float64Array(resourceCount), rents: new Float64Array(tasks.length) };
    this.#limit(msMax);
    this.#model.run();
    if (this.#model.getModelStatus() !== modelStatus.optimal) return null;
    const { rowDual } = this.#model.getSolution();
    return {
      value: this.#model.getObjectiveValue(),
      prices: Float64Array.from(this.#rowOf, (row, resource) =>
        row < 0 ? 0 : Math.max(0, rowDual[row]!) / capacity[resource]!,
      ),
      rents: Float64Array.from(tasks, (_, task) => Math.max(0, rowDual[task]!)),
    };
  }

  /** The most that the columns make with whole sessions, by branch and bound; null when none was found in `msMax`. */
  solveWhole(msMax: number): number | null {
    const { variableType } = this.#highs.constants;
    const count = this.#columns.length;
    if (count === 0) return 0;
    this.#model.changeColsIntegrality(
      { kind: 'range', from: 0, to: count - 1 },
      new Int32Array(count).fill(variableType.integer),
    );
    this.#model.options.set('mip_rel_gap', 1e-4);
    this.#limit(msMax);
    this.#model.run();
    const value = this.#model.getObjectiveValue();
    this.#model.clearIntegrality();
    return Number.isFinite(value) && Math.abs(value) < this.#highs.infinity ? value : null;
  }

  #limit(msMax: number): void {
    this.#model.zeroAllClocks();
    this.#model.options.set('time_limit', Math.min(SECONDS_MAX, Math.max(0.001, msMax / 1000)));
  }

  dispose(): void {
    this.#model.dispose();
  }
}
