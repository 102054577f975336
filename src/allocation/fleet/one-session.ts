/**
 * One session of a fleet in which everybody else stays exactly as they are: how a new one is placed, how the victims of
 * a loss are placed again, and whether a placement that was decided elsewhere still fits. Pure.
 */
import { OrchestratorError } from '../../contracts/errors.js';
import type { FleetPlan, FleetPlanned, FleetSnapshot } from '../../contracts/fleet.js';
import { seededRandom } from '../../std/prng.js';
import { type Allocator, beforeOf, ORCHESTRATOR, placedAsIs, placedOf, plannedOf, STICKINESS } from './allocator.js';
import { placeFault, promiseFault, roomFault, wayFault } from './faults.js';
import { Fleet, type Task } from './model.js';
import { FleetSearch } from './search.js';
import { Appraiser, type Placed, type State } from './state.js';
import { verifyFleet } from './verify-fleet.js';

/** Of the generator that draws candidates: the same question has the same answer. */
const SEED = 1;

export class OneSession {
  readonly fleet: Fleet;
  readonly search: FleetSearch;
  /** Of the session. */
  readonly index: number;
  readonly appraiser: Appraiser;
  readonly #snapshot: FleetSnapshot;
  readonly #others: ReadonlySet<number>;

  /** `sessionId` is one of the snapshot's; whether it has a place there does not matter. */
  constructor(snapshot: FleetSnapshot, sessionId: number) {
    this.#snapshot = snapshot;
    this.fleet = new Fleet(snapshot);
    const { tasks } = this.fleet;
    this.index = tasks.findIndex(({ session }) => session.session_id === sessionId);
    this.appraiser = new Appraiser(this.fleet);
    this.#others = new Set(
      tasks.flatMap(({ session }) => (session.session_id === sessionId ? [] : [session.session_id])),
    );
    this.search = new FleetSearch({
      ...{ fleet: this.fleet, random: seededRandom(SEED), stickiness: STICKINESS },
      before: tasks.map((task, index) => (index === this.index ? beforeOf(this.fleet, task) : null)),
      fixed: Uint8Array.from(tasks, (_, index) => (index === this.index ? 0 : 1)),
    });
    tasks.forEach((task, index) => {
      const placed = index === this.index ? null : placedAsIs(this.fleet, task, this.appraiser);
      if (placed !== null) this.search.keep(index, placed);
    });
  }

  get state(): State {
    return this.search.state;
  }

  /** With every variant that it may run, also those that cannot be run now. */
  get task(): Task {
    const task = this.fleet.tasks[this.index]!;
    return { ...task, graphs: this.fleet.graphs.get(task.session.service)! };
  }

  get placed(): Placed | null {
    return this.state.placed[this.index]!;
  }

  /** Finds a place for it; false when there is none. Throws ALLOCATOR_INVALID. */
  place(allocator: Allocator): boolean {
    this.#clear();
    if (allocator === ORCHESTRATOR) {
      // Few labels are kept for each step; where all placements can be tried, they are before it is refused.
      if (!this.search.settle(this.index)) this.search.finish();
    } else {
      const { fleet, index } = this;
      const plan = allocator.plan(fleet, { seed: SEED, iterations: 0, held: this.#others });
      const planned = plan.sessions.find(({ session_id }) => session_id === fleet.tasks[index]!.session.session_id);
      const placed = planned === undefined ? null : placedOf(fleet, this.task, planned, this.appraiser);
      if (placed !== null) this.search.keep(index, placed);
    }
    if (this.placed === null) return false;
    this.#certify(allocator.name);
    return true;
  }

  /** Puts it where somebody has decided; says what speaks against it, and then it has no place. */
  put(planned: FleetPlanned): string | null {
    this.#clear();
    const placed = placedOf(this.fleet, this.task, planned, this.appraiser);
    if (placed === null) return `${planned.variant} is no variant of it, or names what is not there`;
    const fault =
      this.#placeFaults(placed)[0] ?? promiseFault(this.fleet, this.task, placed) ?? roomFault(this.state, placed);
    if (fault !== null) return fault;
    this.search.keep(this.index, placed);
    this.#certify('the placement');
    return null;
  }

  /** Puts a static template where its file says, however full that is; says why it cannot run there at all. */
  stand(planned: FleetPlanned): string[] {
    this.#clear();
    const placed = placedOf(this.fleet, this.task, planned, this.appraiser);
    if (placed === null) {
      const missing = planned.placement.filter(
        ({ node_id }) => !this.fleet.nodes.some((one) => one.node_id === node_id),
      );
      return missing.map(
        ({ handler_id, node_id }) => `handler ${handler_id} is to run on node ${node_id}, which is not there`,
      );
    }
    const way = wayFault(this.fleet, placed);
    const faults = [...this.#placeFaults(placed), ...(way === null ? [] : [way])];
    if (faults.length === 0) this.search.keep(this.index, placed);
    return faults;
  }

  /** The placement in the form of plans. */
  planned(): FleetPlanned | undefined {
    const { placed } = this;
    return placed === null ? undefined : plannedOf(this.fleet, this.fleet.tasks[this.index]!, placed);
  }

  #clear(): void {
    if (this.placed !== null) this.search.remove(this.index);
  }

  #placeFaults({ graph, nodes, options }: Placed): string[] {
    return graph.handlers.flatMap(({ handler_name }, at) => {
      const node = nodes[at]!;
      const fault = placeFault(this.fleet, this.task, graph, at, options[at]!, node);
      return fault === null ? [] : [`${handler_name} @${this.fleet.nodes[node]!.node_name}: ${fault}`];
    });
  }

  /** The independent verifier's word, on the session and on everything that it takes of. */
  #certify(who: string): void {
    const sessions = [this.planned()!];
    const refused: FleetPlan['refused'] = [];
    this.fleet.tasks.forEach(({ session: { session_id, previous } }, index) => {
      if (index === this.index) return;
      const placed = this.state.placed[index] ?? null;
      if (placed === null) refused.push({ session_id, reason: '' });
      else {
        const { accuracy, latencyMs: latency_ms } = placed;
        const variant = placed.graph.variant.variant_name;
        sessions.push({ session_id, variant, accuracy, latency_ms, placement: previous! });
      }
    });
    const plan = { algorithm: who, sessions, refused, moved: this.state.moved, utility: this.state.utility };
    const violations = verifyFleet(plan, this.#snapshot, this.#others);
    if (violations.length === 0) return;
    const message = `the plan of ${who} does not hold: ${violations.slice(0, 3).join('; ')}`;
    throw new OrchestratorError('ALLOCATOR_INVALID', message, { violations: violations.slice(0, 20) });
  }
}
