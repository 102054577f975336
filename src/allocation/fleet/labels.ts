/**
 * Short Pareto lists of labels in typed arrays, made once and used for every placement: no garbage in the innermost loop.
 * A label that is no better in price, latency and accuracy than another of its list is not kept; accuracy stops counting
 * once the floor is certain to be reached.
 */

/** Lists of labels: list i has its entries from i * width on. */
export class Labels {
  readonly cost: Float64Array;
  readonly lat: Float64Array;
  readonly ended: Float64Array;
  readonly lnAcc: Float64Array;
  readonly bytes: Float64Array;
  readonly parent: Int32Array;
  readonly option: Int32Array;
  readonly count: Int32Array;

  constructor(
    lists: number,
    readonly width: number,
  ) {
    const size = lists * width;
    this.cost = new Float64Array(size);
    this.lat = new Float64Array(size);
    this.ended = new Float64Array(size);
    this.lnAcc = new Float64Array(size);
    this.bytes = new Float64Array(size);
    this.parent = new Int32Array(size);
    this.option = new Int32Array(size);
    this.count = new Int32Array(lists);
  }

  /** Keeps the list Pareto; from a full one the dearest goes, but never the fastest. */
  insert(
    list: number,
    safeLnAcc: number,
    cost: number,
    lat: number,
    ended: number,
    lnAcc: number,
    bytes: number,
    parent: number,
    option: number,
  ): void {
    const start = list * this.width;
    let count = this.count[list]!;
    const { cost: costs, lat: lats, lnAcc: accs } = this;
    for (let at = start; at < start + count; at++) {
      if (costs[at]! <= cost && lats[at]! <= lat && (accs[at]! >= lnAcc || accs[at]! >= safeLnAcc)) return;
    }
    for (let at = start; at < start + count; ) {
      if (cost <= costs[at]! && lat <= lats[at]! && (lnAcc >= accs[at]! || lnAcc >= safeLnAcc)) {
        count--;
        if (at < start + count) this.#copy(start + count, at);
      } else at++;
    }
    let slot = start + count;
    if (count === this.width) {
      slot = this.#worst(start, count);
      if (costs[slot]! <= cost && lat >= this.#fastest(start, count)) {
        this.count[list] = count;
        return;
      }
    } else count++;
    costs[slot] = cost;
    lats[slot] = lat;
    this.ended[slot] = ended;
    accs[slot] = lnAcc;
    this.bytes[slot] = bytes;
    this.parent[slot] = parent;
    this.option[slot] = option;
    this.count[list] = count;
  }

  #copy(from: number, to: number): void {
    this.cost[to] = this.cost[from]!;
    this.lat[to] = this.lat[from]!;
    this.ended[to] = this.ended[from]!;
    this.lnAcc[to] = this.lnAcc[from]!;
    this.bytes[to] = this.bytes[from]!;
    this.parent[to] = this.parent[from]!;
    this.option[to] = this.option[from]!;
  }

  #fastest(start: number, count: number): number {
    let least = this.lat[start]!;
    for (let at = start + 1; at < start + count; at++) if (this.lat[at]! < least) least = this.lat[at]!;
    return least;
  }

  #worst(start: number, count: number): number {
    const fastest = this.#fastest(start, count);
    let worst = -1;
    for (let at = start; at < start + count; at++) {
      if (this.lat[at] === fastest) continue;
      if (worst < 0 || this.cost[at]! > this.cost[worst]!) worst = at;
    }
    return worst < 0 ? start : worst;
  }
}
