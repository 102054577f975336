/**
 * Every constant of the allocation model and every bound on its search, with unit and reason. Data only: the planner
 * and the verifier read the same values and share nothing else.
 */

/** Share of a resource that is promised. Above it waiting times grow without limit, and load noise has nowhere to go. */
export const UTILISATION_CAP = 0.8;

/** HTTP framing, copying and scheduling of one packet at the two ends of a link between nodes, ms (measured prototype: 1). */
export const HOP_MS = 1;

/** A profile counts once it has as many packets: fewer are mostly warm-up (model load, first inference). */
export const PROFILE_SAMPLES_MIN = 20;

/**
 * (ca^2 + cs^2) / 2 of the waiting time formula. One half is Poisson arrivals with constant service (M/D/1). A camera is
 * steadier than Poisson, so this mean of a rougher stream stands for the p95 of the real one.
 */
export const VARIABILITY = 0.5;

/** Accuracies closer than this are one and the same: products of factors in another order differ by rounding. */
export const ACCURACY_EPSILON = 1e-9;

/** Slack of every comparison of a need with a bound (ms, MiB, ms/s, Mbit/s): rounding of sums, nothing a machine can feel. */
export const FIT_EPSILON = 1e-6;

/** Variants that are counted and named in reasons and errors; a reader compares no more. */
export const SURVEY_MAX = 64;

/** Nodes spelled out in one sentence. */
export const NAMED_NODES_MAX = 8;

/** Lowest frame rate that a refusal proposes, fps. */
export const NEAREST_FPS_MIN = 0.1;
