/**
 * The nearest objective that would be admitted: one promise is relaxed at a time, only then several. Every proposal has
 * been planned again before it is made, so it is known to fit the snapshot that it was made for.
 */
import type { Objective, PlanRequest } from '../contracts/plan.js';
import { NEAREST_FPS_MIN, NEAREST_LABELS_MAX } from './bounds.js';
import type { Cluster } from './cluster.js';
import { evaluate } from './evaluate.js';
import { graphsOf, type Solution, type SolveOptions, solve } from './solve.js';
import type { Wanted } from './variants.js';
import { accuracyText } from './words.js';

/** Frame rates are proposed in tenths. */
const FPS_STEP = NEAREST_FPS_MIN;

export interface Proposal {
  readonly objective: Objective;
  /** `latency 96 ms`. */
  readonly words: string;
}

export interface Nearest {
  readonly objective: Objective | undefined;
  /** Each single promise that, relaxed alone, would do. */
  readonly singles: readonly Proposal[];
}

export interface PlannerOptions {
  readonly request: PlanRequest;
  readonly cluster: Cluster;
  readonly wanted: readonly Wanted[];
  readonly parts: SolveOptions['parts'];
}

/** Asks the solver again with other objectives. */
export class Planner {
  readonly #options: PlannerOptions;

  constructor(options: PlannerOptions) {
    this.#options = options;
  }

  get asked(): Objective {
    return this.#options.request.objective;
  }

  best(objective: Objective, goal: 'accuracy' | 'latency' = 'accuracy'): Solution | null {
    const { request, cluster, wanted, parts } = this.#options;
    const sameFps = objective.fps === request.objective.fps;
    return solve({
      parts: sameFps ? parts : graphsOf(wanted, { ...request, objective }, cluster),
      cluster,
      objective,
      goal,
      labelsMax: NEAREST_LABELS_MAX,
    }).best;
  }

  latencyMs({ graph, choice, nodes }: Solution): number {
    return evaluate({ graph, choice, nodes, cluster: this.#options.cluster }).latencyMs;
  }

  /** `objective` with those of the asked bounds that `solution` breaks set to what it reaches. */
  loosened(objective: Objective, solution: Solution): Objective {
    const { latency_ms_max, accuracy_min } = this.asked;
    const latency = Math.ceil(this.latencyMs(solution));
    const accuracy = Math.floor(solution.accuracy * 1e4) / 1e4;
    return {
      fps: objective.fps,
      ...(latency_ms_max === undefined ? {} : { latency_ms_max: Math.max(latency_ms_max, latency) }),
      ...(accuracy_min === undefined ? {} : { accuracy_min: Math.min(accuracy_min, accuracy) }),
    };
  }
}

export function nearestOf(planner: Planner): Nearest {
  const { latency_ms_max, accuracy_min, fps } = planner.asked;
  const lowest = { fps: Math.min(fps, FPS_STEP) };
  if (planner.best(lowest) === null) return { objective: undefined, singles: [] };
  const singles = [relaxLatency(planner), relaxAccuracy(planner), relaxFps(planner, planner.asked)].filter(
    (one) => one !== null,
  );
  const change = ({ objective }: Proposal): number =>
    Math.max(
      (objective.latency_ms_max ?? 0) / (latency_ms_max ?? 1) - 1,
      1 - (objective.accuracy_min ?? 1) / (accuracy_min ?? 1),
      1 - objective.fps / fps,
    );
  const least = [...singles].sort((a, b) => change(a) - change(b))[0];
  return { objective: least?.objective ?? relaxSeveral(planner), singles };
}

function verified(planner: Planner, objective: Objective, words: string): Proposal | null {
  return planner.best(objective) === null ? null : { objective, words };
}

function relaxLatency(planner: Planner): Proposal | null {
  const { latency_ms_max, ...rest } = planner.asked;
  if (latency_ms_max === undefined) return null;
  const fastest = planner.best(rest, 'latency');
  if (fastest === null) return null;
  const objective = planner.loosened(rest, fastest);
  return verified(planner, objective, `latency ${objective.latency_ms_max} ms`);
}

function relaxAccuracy(planner: Planner): Proposal | null {
  const { accuracy_min, ...rest } = planner.asked;
  if (accuracy_min === undefined) return null;
  const best = planner.best(rest);
  if (best === null) return null;
  const objective = planner.loosened(rest, best);
  return verified(planner, objective, `accuracy ${accuracyText(objective.accuracy_min!)}`);
}

/** The highest frame rate, in tenths, that is admitted: less work and less waiting at every stage, so bisection is right. */
function relaxFps(planner: Planner, bounds: Objective): Proposal | null {
  const at = (steps: number): Objective => ({ ...bounds, fps: Number((steps * FPS_STEP).toFixed(1)) });
  let low = 0;
  let high = Math.ceil(bounds.fps / FPS_STEP - 1e-9);
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (planner.best(at(middle)) === null) high = middle;
    else low = middle;
  }
  return low === 0 ? null : verified(planner, at(low), `${at(low).fps} fps`);
}

/** Latency and accuracy together, then the frame rate as well. */
function relaxSeveral(planner: Planner): Objective | undefined {
  const { fps } = planner.asked;
  const rate = planner.best({ fps }) === null ? relaxFps(planner, { fps })?.objective.fps : fps;
  if (rate === undefined) return undefined;
  const { accuracy_min } = planner.asked;
  const solution =
    (accuracy_min === undefined ? null : planner.best({ fps: rate, accuracy_min }, 'latency')) ??
    planner.best({ fps: rate }, 'latency');
  if (solution === null) return undefined;
  const objective = planner.loosened({ fps: rate }, solution);
  return planner.best(objective) === null ? undefined : objective;
}
