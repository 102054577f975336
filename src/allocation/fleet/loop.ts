/**
 * The planning loop's decision: fleet as it is + what has happened -> which sessions are placed, moved or refused.
 *
 *   decide({ snapshot, events, atS, state, allocator, rules }) -> { actions, state }
 *
 * Pure: no clock, no store; the caller keeps `state` and hands it back, applies the actions, and puts what runs into the
 * next snapshot (`previous`, `previous_variant`). A session without `previous` waits for a place. Call it whenever
 * something has happened, and every few seconds besides with what lasts. Without events, and with nothing due, it looks
 * at nothing and answers no actions. What is in trouble is found in the snapshot itself; events only say that it is
 * worth looking, so one that was lost costs time and no session. A session whose source's node is down waits where it is.
 *
 * Two time scales. At once: sessions whose node is gone and sessions that wait are placed and nobody else moves, and
 * drained nodes are left; for those without room others make room, in cheaper variants where that is what it takes, within the migration budget;
 * nodes that carry too much and sessions that are late are relieved one session at a time, never at the price of a refusal. Slowly,
 * and only in calm: a sticky search that may raise accuracy again, into a part of what is free.
 */
import { OrchestratorError } from '../../contracts/errors.js';
import type { FleetPlanned, FleetSnapshot } from '../../contracts/fleet.js';
import { type Allocator, ORCHESTRATOR, placementsOf } from './allocator.js';
import { Round } from './loop-round.js';
import { type LoopEvent, type LoopRules, type LoopState, mayImprove, withEvents } from './loop-rules.js';
import { verifyFleet } from './verify-fleet.js';

export type LoopReason =
  /** It waited for a place. */
  | 'placed'
  /** Its node is gone, or cannot run it any more. */
  | 'repaired'
  /** Its node is drained. */
  | 'left'
  /** Makes room for others. */
  | 'made_room'
  /** Its node carries too much, or it was late. */
  | 'relieved'
  /** In calm: more accuracy, or less load. */
  | 'improved';

export type LoopAction =
  | {
      readonly kind: 'place';
      readonly session_id: number;
      readonly why: LoopReason;
      readonly planned: FleetPlanned;
      /** Handlers that leave the node or the alternative they had; all of a session that waited. */
      readonly moved: number;
    }
  /** It runs on a node that is gone, or waits, and nothing admissible has room. */
  | { readonly kind: 'refuse'; readonly session_id: number; readonly reason: string }
  /** It runs on a drained node, goes on there, and has no place elsewhere. */
  | { readonly kind: 'stay'; readonly session_id: number; readonly reason: string };

export interface LoopInput {
  readonly snapshot: FleetSnapshot;
  readonly events: readonly LoopEvent[];
  readonly atS: number;
  readonly state: LoopState;
  readonly allocator: Allocator;
  readonly rules: LoopRules;
  /** session_ids that may not be moved now, whatever becomes of their nodes: they start, stop, or are somebody else's. */
  readonly held?: ReadonlySet<number>;
}

export interface LoopOutput {
  readonly actions: readonly LoopAction[];
  readonly state: LoopState;
}

/** Whether `decide` would look at anything without events: a caller can spare itself the snapshot when not. */
export function isDueToLook(
  state: LoopState,
  { atS, allocator, rules }: Pick<LoopInput, 'atS' | 'allocator' | 'rules'>,
): boolean {
  return state.isOwing || (allocator === ORCHESTRATOR && mayImprove(state, atS, rules));
}

/** Throws ALLOCATOR_INVALID when what was decided does not pass the verifier: it must not be applied. */
export function decide(input: LoopInput): LoopOutput {
  const { events, atS, rules } = input;
  const state = withEvents(input.state, events, atS, rules);
  if (events.length === 0 && !isDueToLook(state, input)) return { actions: [], state };
  const isDue = mayImprove(state, atS, rules) && input.allocator === ORCHESTRATOR;
  const round = new Round(input, state);
  if (input.allocator === ORCHESTRATOR) {
    round.repair();
    round.leave();
    round.relieve();
    if (isDue && round.changes.size === 0) round.improve();
  } else round.replace(input.allocator);
  return { actions: certified(round, input), state: round.stateAfter(isDue) };
}

function certified(round: Round, { snapshot, allocator }: LoopInput): LoopAction[] {
  const placements = placementsOf(allocator.name, round.state);
  const refused = round.refusals();
  if (round.changes.size > 0) {
    const told = new Set(placements.sessions.map((one) => one.session_id));
    const rest = snapshot.sessions.filter(({ session_id }) => !told.has(session_id));
    const plan = { ...placements, refused: rest.map(({ session_id }) => ({ session_id, reason: '' })) };
    const violations = [...round.forgotten(), ...verifyFleet(plan, snapshot, round.unchanged())];
    if (violations.length > 0) {
      const message = `the plan of ${allocator.name} does not hold: ${violations.slice(0, 3).join('; ')}`;
      throw new OrchestratorError('ALLOCATOR_INVALID', message, { violations: violations.slice(0, 20) });
    }
  }
  const byId = new Map(placements.sessions.map((one) => [one.session_id, one]));
  const placed = [...round.changes].flatMap(([task, why]): LoopAction[] => {
    const { session_id } = snapshot.sessions[task]!;
    const planned = byId.get(session_id);
    return planned === undefined ? [] : [{ kind: 'place', session_id, why, planned, moved: round.movedOf(task) }];
  });
  return [...placed, ...refused, ...round.stays()];
}
