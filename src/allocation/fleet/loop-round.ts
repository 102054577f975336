/**
 * One round of the planning loop over one snapshot: everybody is put where they run, as they are, and then those in
 * trouble are placed anew step by step. Invariant: a step either leaves a state that is better by its own measure or
 * puts everything back; who could have stayed moves within the budget only.
 */
import { FIT_EPSILON, UTILISATION_CAP } from '../bounds.js';
import { type Allocator, isAllowed, placedAsIs, placedOf, REFUSED_THOROUGH_MAX, searchOf } from './allocator.js';
import type { LoopAction, LoopInput, LoopReason } from './loop.js';
import { improve } from './loop-improve.js';
import { changedFrom, isSame, restore } from './loop-places.js';
import { budgetOf, dwells, isConfirmed, type LoopRules, type LoopState, movedLately, tightened } from './loop-rules.js';
import { Fleet, type Task } from './model.js';
import { arrivalScale, loadOf } from './prices.js';
import { refusedOf } from './refusal.js';
import type { FleetSearch } from './search.js';
import { Appraiser, type Placed, type State } from './state.js';

/** Attempts to make room for one session, every other one at dear prices: with 4 three of 100 more stay out on a full fleet. */
const EJECTIONS_PER_SESSION = 12;

export class Round {
  readonly changes = new Map<number, LoopReason>();
  readonly #input: LoopInput;
  readonly #before: LoopState;
  readonly #rules: LoopRules;
  readonly #fleet: Fleet;
  readonly #search: FleetSearch;
  /** session_ids that move for nobody's comfort: those that are held, and those that were just placed. */
  readonly #fixed: ReadonlySet<number>;
  /** Where each session runs now; null = nowhere, or where that cannot be said. */
  readonly #asIs: readonly (Placed | null)[];
  /** Tasks that have lost their place or never had one. */
  readonly #homeless: number[] = [];
  /** Tasks that should leave a drained node and stay where they are until they can. */
  readonly #leaving: number[] = [];
  readonly #stays = new Map<number, string>();
  readonly #movedBefore: number;
  /** That run. */
  readonly #handlers: number;
  #spent = 0;
  /** Somebody who is held cannot stay. */
  #isOwing = false;
  /** A step of an improvement has been left out for want of budget. */
  #isDear = false;

  constructor(input: LoopInput, before: LoopState) {
    this.#input = input;
    this.#before = before;
    this.#rules = input.rules;
    this.#movedBefore = movedLately(before);
    this.#fleet = new Fleet(tightened(input.snapshot, input.events, before));
    const { tasks } = this.#fleet;
    const appraiser = new Appraiser(this.#fleet);
    this.#asIs = tasks.map((task) => placedAsIs(this.#fleet, task, appraiser));
    this.#handlers = this.#asIs.reduce((sum, placed) => sum + (placed?.nodes.length ?? 0), 0);
    const held = this.#heldSessions();
    const { seed, stickiness } = input.rules;
    const running = tasks.filter((_, task) => this.#asIs[task] !== null);
    const lasting = new Set(running.map(({ session }) => session.session_id));
    this.#search = searchOf(this.#fleet, { seed, iterations: 0, held, stickiness, lasting });
    const young = input.snapshot.sessions.filter((one) => dwells(before, one.session_id, input.atS, input.rules));
    this.#fixed = new Set([...held, ...young.map(({ session_id }) => session_id)]);
    this.#asIs.forEach((placed, task) => {
      const { session, source } = tasks[task]!;
      const isUp = this.#fleet.nodes[source]!.up;
      const isHeld = input.held?.has(session.session_id) === true;
      const waits = isHeld || !isUp;
      const isKept = (despiteDrain?: boolean) => isAllowed(this.#fleet, tasks[task]!, placed!, despiteDrain);
      if (placed !== null && (waits || isKept(true))) {
        this.#search.keep(task, placed);
        if (isKept()) return;
        if (!waits) this.#leaving.push(task);
        else if (isUp) this.#isOwing = true;
      } else if (!waits) this.#homeless.push(task);
    });
  }

  get state(): State {
    return this.#search.state;
  }

  /** Not to be moved at all: held by the caller, or waiting for their source. */
  #heldSessions(): Set<number> {
    const { held, snapshot } = this.#input;
    const down = new Set(snapshot.nodes.filter((one) => !one.up).map((one) => one.node_id));
    const there = snapshot.sessions.filter(
      ({ session_id, source_node }) => held?.has(session_id) === true || down.has(source_node),
    );
    return new Set(there.map(({ session_id }) => session_id));
  }

  /** Places the homeless, heaviest first; then makes room for those that are left. */
  repair(): void {
    const { tasks } = this.#fleet;
    const ran = (task: number) => (tasks[task]!.session.previous === undefined ? 1 : 0);
    const order = [...this.#homeless].sort((a, b) => tasks[b]!.weight - tasks[a]!.weight || ran(a) - ran(b) || a - b);
    // As many as have come within the window may come again before others can make room for them.
    const fresh = order.length + this.#before.cameAtS.length;
    for (const task of order) {
      const { state } = this;
      this.#search.insert(task, arrivalScale(loadOf(state), fresh / Math.max(1, state.admitted)));
    }
    for (const task of order) {
      this.#makeRoomFor(task);
      const has = this.#placed(task) !== null;
      if (has) this.changes.set(task, tasks[task]!.session.previous === undefined ? 'placed' : 'repaired');
    }
  }

  /** Takes everybody off drained nodes who has a place elsewhere, heaviest first; the rest stays and says why. */
  leave(): void {
    const { tasks } = this.#fleet;
    for (const task of this.#leaving.toSorted((a, b) => tasks[b]!.weight - tasks[a]!.weight || a - b)) {
      // Another's move may have taken it along.
      if (!isSame(this.#placed(task), this.#asIs[task]!)) continue;
      this.#search.remove(task);
      if (!this.#search.insert(task)) this.#makeRoomFor(task);
      if (this.#placed(task) === null) this.#stay(task);
      else this.changes.set(task, 'left');
    }
  }

  #stay(task: number): void {
    this.#stays.set(task, refusedOf(task, this.#search).reason);
    this.#search.keep(task, this.#asIs[task]!);
  }

  #makeRoomFor(task: number): void {
    for (let tries = 0; tries < EJECTIONS_PER_SESSION && this.#placed(task) === null; tries++)
      this.#makeRoom(task, tries % 2 === 1);
  }

  #placed(task: number): Placed | null {
    return this.state.placed[task] ?? null;
  }

  #makeRoom(task: number, dear: boolean): void {
    const before = [...this.state.placed];
    const homeless = new Set(this.#homeless);
    if (!this.#search.eject(task, dear)) {
      restore(this.#search, before);
      return;
    }
    const others = changedFrom(before, this.state.placed).filter((one) => one !== task && !homeless.has(one));
    const cost = others.reduce((sum, one) => sum + this.movedOf(one), 0);
    if (cost > this.#left(true)) {
      restore(this.#search, before);
      return;
    }
    this.#spent += cost;
    for (const one of others) this.changes.set(one, 'made_room');
  }

  /** Nodes that carry too much by what is measured now, and sessions that are late. */
  relieve(): void {
    const { tasks, nodes, capacity } = this.#fleet;
    nodes.forEach((_, node) => {
      if (this.state.used[node]! > capacity[node]! * (1 + this.#rules.slack)) this.#relieveNode(node, capacity[node]!);
    });
    tasks.forEach((task, index) => {
      const placed = this.#placed(index);
      const { session_id } = task.session;
      if (placed === null || this.changes.has(index) || this.#fixed.has(session_id)) return;
      const isLate = isConfirmed(this.#before, session_id);
      if (this.#breaks(task, placed, isLate ? 0 : this.#rules.slack)) this.#elsewhere(index, isLate);
    });
  }

  /** Later than its bound, or with a handler that cannot keep up, by more than `slack`. */
  #breaks(task: Task, { latencyMs, nodes, options }: Placed, slack: number): boolean {
    if (Number.isFinite(latencyMs)) return latencyMs > task.latencyMsMax * (1 + slack) + FIT_EPSILON;
    const { computeMs, nodeCount } = this.#fleet;
    const busy = Array.from(nodes, (node, at) => (task.fps * computeMs[options[at]! * nodeCount + node]!) / 1000);
    return Math.max(...busy) > UTILISATION_CAP * (1 + slack);
  }

  #relieveNode(node: number, most: number): void {
    const before = [...this.state.placed];
    const changes = [...this.changes];
    const spent = this.#spent;
    this.#unload(node, most, this.#rules.relief);
    if (this.state.used[node]! <= most + FIT_EPSILON) return;
    // Too full all the same: nobody may be put there anew, however much cheaper, and those go who find another node.
    restore(this.#search, before);
    this.changes.clear();
    for (const [task, why] of changes) this.changes.set(task, why);
    this.#spent = spent;
    this.#unload(node, most, 1);
  }

  /**
   * Takes sessions off a node, lightest weight and greatest use first, until it carries no more than `most`. Each may come back
   * with `relief` of what it took less.
   */
  #unload(node: number, most: number, relief: number): void {
    const { capacity, tasks } = this.#fleet;
    const { used } = this.state;
    const useOf = (task: number) => {
      const { resources, amounts } = this.#placed(task)!;
      return amounts[resources.indexOf(node)] ?? 0;
    };
    const there = [...this.state.tasksOn[node]!]
      .filter((task) => !this.#fixed.has(tasks[task]!.session.session_id))
      .sort((a, b) => tasks[a]!.weight - tasks[b]!.weight || useOf(b) - useOf(a) || a - b);
    const whole = capacity[node]!;
    for (const task of there) {
      if (used[node]! <= most + FIT_EPSILON) break;
      capacity[node] = Math.max(most, used[node]! - useOf(task) * relief);
      this.#elsewhere(task);
    }
    capacity[node] = whole;
  }

  /** Another place or a cheaper variant within the bounds of the moment; back to where it was when there is none. */
  #elsewhere(task: number, isUrgent = false): void {
    const before = this.#placed(task)!;
    this.#search.remove(task);
    if (
      this.#search.insert(task) &&
      !isSame(before, this.#placed(task)) &&
      this.movedOf(task) <= this.#left(isUrgent)
    ) {
      this.#spent += this.movedOf(task);
      this.changes.set(task, 'relieved');
      return;
    }
    if (this.#placed(task) !== null) this.#search.remove(task);
    this.#search.keep(task, before);
  }

  /** Of the budget. */
  #left(isUrgent = false): number {
    return budgetOf(this.#rules, this.#handlers, isUrgent) - this.#movedBefore - this.#spent;
  }

  /** See loop-improve. */
  improve(): void {
    const first = [...this.state.placed];
    const { isDear } = improve({
      ...{ fleet: this.#fleet, search: this.#search, rules: this.#rules, fixed: this.#fixed },
      late: new Set(this.#before.late.keys()),
      costOf: (changed) => this.#costOf(changed),
      budget: this.#left(),
    });
    if (isDear) this.#isDear = true;
    const changed = changedFrom(first, this.state.placed);
    this.#spent += this.#costOf(changed);
    for (const task of changed) this.changes.set(task, first[task] === null ? 'placed' : 'improved');
  }

  /** More may be possible with a whole budget; what is too dear even then is given up, or wavering figures would move it. */
  #isCurbed(): boolean {
    return this.#isDear && this.#movedBefore > 0;
  }

  /** Handlers that move; a session that had no place costs nobody anything. */
  #costOf(changed: readonly number[]): number {
    return changed.reduce((sum, task) => sum + (this.#asIs[task] === null ? 0 : this.movedOf(task)), 0);
  }

  /** Another algorithm decides about everybody; those whose place still holds are given to it as held. */
  replace(allocator: Allocator): void {
    const first = [...this.state.placed];
    for (let leaving = this.#leaving; ; ) {
      this.#replaceWith(allocator, leaving);
      const left = leaving.filter((task) => this.#placed(task) === null);
      if (left.length === 0) return;
      for (const task of left) this.#stays.set(task, refusedOf(task, this.#search).reason);
      // They stay, and nobody may have taken their room: once more without them.
      restore(this.#search, first);
      this.changes.clear();
      leaving = leaving.filter((task) => !left.includes(task));
    }
  }

  #replaceWith(allocator: Allocator, leaving: readonly number[]): void {
    const { tasks } = this.#fleet;
    for (const task of leaving) this.#search.remove(task);
    const held = new Set(
      tasks.flatMap(({ session }, task) => (this.#placed(task) === null ? [] : [session.session_id])),
    );
    const plan = allocator.plan(this.#fleet, { seed: this.#rules.seed, iterations: 0, held });
    const planned = new Map(plan.sessions.map((one) => [one.session_id, one]));
    const appraiser = new Appraiser(this.#fleet);
    tasks.forEach((task, index) => {
      if (this.#placed(index) !== null) return;
      const one = planned.get(task.session.session_id);
      const placed = one === undefined ? null : placedOf(this.#fleet, task, one, appraiser);
      if (placed === null) return;
      this.#search.keep(index, placed);
      const why = leaving.includes(index) ? 'left' : 'repaired';
      this.changes.set(index, task.session.previous === undefined ? 'placed' : why);
    });
  }

  movedOf(task: number): number {
    const now = this.#placed(task);
    const old = this.#asIs[task] ?? null;
    if (now === null) return 0;
    if (old === null || old.graph !== now.graph) return now.nodes.length;
    return now.nodes.reduce(
      (sum, node, at) => sum + (node === old.nodes[at] && now.options[at] === old.options[at] ? 0 : 1),
      0,
    );
  }

  refusals(): LoopAction[] {
    return this.#homeless
      .filter((task) => this.#placed(task) === null)
      .map((task, index) => ({ kind: 'refuse', ...refusedOf(task, this.#search, index < REFUSED_THOROUGH_MAX) }));
  }

  /** Those that should leave a drained node and cannot. */
  stays(): LoopAction[] {
    return [...this.#stays].map(([task, reason]) => ({
      kind: 'stay',
      session_id: this.#fleet.tasks[task]!.session.session_id,
      reason,
    }));
  }

  /** Who ran, could have stayed and has no place now: nobody may be forgotten. */
  forgotten(): string[] {
    const homeless = new Set(this.#homeless);
    return this.#fleet.tasks.flatMap(({ session }, task) => {
      const isForgotten = this.#asIs[task] !== null && this.#placed(task) === null && !homeless.has(task);
      return isForgotten ? [`session ${session.session_id} has lost its place to others`] : [];
    });
  }

  /** session_ids of those that stay as they are. */
  unchanged(): Set<number> {
    return new Set(
      this.#fleet.tasks.flatMap(({ session }, task) =>
        this.changes.has(task) || this.#asIs[task] === null ? [] : [session.session_id],
      ),
    );
  }

  /** Who was relieved has left nothing that others should move for: being late comes and goes. */
  #opens(): boolean {
    return [...this.changes.values()].some((why) => why !== 'relieved');
  }

  stateAfter(improved: boolean): LoopState {
    const { atS, snapshot } = this.#input;
    const there = new Set(snapshot.sessions.map(({ session_id }) => session_id));
    const placedAtS = new Map([...this.#before.placedAtS].filter(([id]) => there.has(id)));
    const late = new Map(this.#before.late);
    for (const task of this.changes.keys()) {
      const { session_id } = this.#fleet.tasks[task]!.session;
      placedAtS.set(session_id, atS);
      // Where it was late it is no more.
      late.delete(session_id);
    }
    const isShort = this.#homeless.some((task) => this.#placed(task) === null);
    return {
      ...this.#before,
      ...{ placedAtS, late },
      cameAtS: [
        ...this.#before.cameAtS,
        ...[...this.changes.values()].flatMap((why) => (why === 'placed' ? [atS] : [])),
      ],
      moves: this.#spent > 0 ? [...this.#before.moves, { atS, handlers: this.#spent }] : this.#before.moves,
      improvedAtS: improved ? atS : this.#before.improvedAtS,
      troubledAtS: isShort && !improved ? atS : this.#before.troubledAtS,
      // What has just been placed was not looked at: there is something left to improve.
      isOwing: this.#isOwing,
      isNews: this.#opens() || (this.#before.isNews && (!improved || this.#fixed.size > 0 || this.#isCurbed())),
    };
  }
}
