/**
 * Where jobs wait and are served, in virtual time. Neither of the two knows a formula: waiting times come about.
 *
 * FifoStation    as many jobs at once as it has servers, the others in the order of coming: a GPU, a segment of a link
 * SharedStation  all jobs at once, each at most one server's speed: cores whose operating system slices time
 *
 * What may wait is bounded by who comes: a handler has one job at a time, a link a window of packets.
 */
import { Heap } from '../std/heap.js';
import type { Calendar } from './calendar.js';

export interface Station<J> {
  /** `done(job)` is called when `workMs` of one server have gone into it. */
  submit(job: J, workMs: number): void;
  /** Takes out everything that waits or is served; nothing of it is done. */
  clear(): J[];
}

export interface StationOptions<J> {
  readonly calendar: Calendar;
  readonly servers: number;
  readonly done: (job: J) => void;
}

/** Rounding of sums of virtual time, ms. */
const EPSILON_MS = 1e-9;

interface Waiting<J> {
  readonly job: J;
  readonly workMs: number;
}

export class FifoStation<J> implements Station<J> {
  readonly #options: StationOptions<J>;
  #waiting: Waiting<J>[] = [];
  #first = 0;
  #served = new Set<Waiting<J>>();

  constructor(options: StationOptions<J>) {
    this.#options = options;
  }

  submit(job: J, workMs: number): void {
    const one = { job, workMs };
    if (this.#served.size < this.#options.servers) this.#serve(one);
    else this.#waiting.push(one);
  }

  clear(): J[] {
    const all = [...this.#served, ...this.#waiting.slice(this.#first)];
    this.#served = new Set();
    this.#waiting = [];
    this.#first = 0;
    return all.map(({ job }) => job);
  }

  #serve(one: Waiting<J>): void {
    this.#served.add(one);
    this.#options.calendar.after(one.workMs, () => {
      if (!this.#served.delete(one)) return;
      const next = this.#next();
      if (next !== undefined) this.#serve(next);
      this.#options.done(one.job);
    });
  }

  #next(): Waiting<J> | undefined {
    if (this.#first >= this.#waiting.length) return undefined;
    const next = this.#waiting[this.#first++];
    if (this.#first > 64 && this.#first * 2 > this.#waiting.length) {
      this.#waiting = this.#waiting.slice(this.#first);
      this.#first = 0;
    }
    return next;
  }
}

interface Sharing<J> {
  readonly job: J;
  /** Service that a job has had which was there from the start, ms, when this one is done. */
  readonly doneAt: number;
  readonly order: number;
}

export class SharedStation<J> implements Station<J> {
  readonly #options: StationOptions<J>;
  #jobs = SharedStation.#none<J>();
  #order = 0;
  /** Service that each job has had since the start, ms: all of them get the same. */
  #served = 0;
  #atMs = 0;
  /** Only the newest appointment counts. */
  #appointment = 0;

  constructor(options: StationOptions<J>) {
    this.#options = options;
  }

  static #none<J>(): Heap<Sharing<J>> {
    return new Heap((a, b) => a.doneAt < b.doneAt || (a.doneAt === b.doneAt && a.order < b.order));
  }

  submit(job: J, workMs: number): void {
    this.#advance();
    const { servers } = this.#options;
    const one = { job, doneAt: this.#served + workMs, order: this.#order++ };
    this.#jobs.push(one);
    // With a server for each, a job that ends later than the next one changes nothing.
    if (this.#jobs.size > servers || this.#jobs.peek() === one) this.#appoint();
  }

  clear(): J[] {
    this.#advance();
    const all: J[] = [];
    for (let one = this.#jobs.pop(); one !== undefined; one = this.#jobs.pop()) all.push(one.job);
    this.#appointment += 1;
    return all;
  }

  /** Of one job's server. */
  #rate(): number {
    return Math.min(1, this.#options.servers / Math.max(1, this.#jobs.size));
  }

  #advance(): void {
    const { nowMs } = this.#options.calendar;
    const passed = nowMs - this.#atMs;
    if (passed > 0 && this.#jobs.size > 0) this.#served += passed * this.#rate();
    this.#atMs = nowMs;
  }

  #appoint(): void {
    const next = this.#jobs.peek();
    const appointment = ++this.#appointment;
    if (next === undefined) return;
    this.#options.calendar.after((next.doneAt - this.#served) / this.#rate(), () => {
      if (appointment === this.#appointment) this.#finish();
    });
  }

  #finish(): void {
    this.#advance();
    const done: J[] = [];
    // The one that the appointment was for, whatever rounding says, and those that end with it.
    const until = Math.max(this.#served, this.#jobs.peek()?.doneAt ?? 0) + EPSILON_MS;
    for (let one = this.#jobs.peek(); one !== undefined && one.doneAt <= until; one = this.#jobs.peek()) {
      this.#jobs.pop();
      done.push(one.job);
    }
    this.#appoint();
    for (const job of done) this.#options.done(job);
  }
}
