/** `plan SNAPSHOT`: many sessions at once, from a file; nothing is started. */
import { type Command, InvalidArgumentError } from 'commander';
import type { FleetBound, FleetExplained, FleetRefused } from '../../contracts/fleet.js';
import type { PlanOutcome } from '../../main/plan.js';
import { left, ms, right, table } from '../../main/text/table.js';
import { durationMs } from '../arguments.js';
import { globalOptions, print } from '../output.js';

interface PlanFlags {
  readonly algorithm: string;
  readonly seed: number;
  readonly iterations?: number;
  readonly replan?: boolean;
  readonly explain?: boolean;
  readonly bound?: boolean;
  readonly boundTime: number;
}

/** Time for a bound that says no time of its own, ms. */
const BOUND_MS = 30_000;

/** Sessions in the text table; `--json` has all. */
const SESSIONS_SHOWN_MAX = 40;

export function addPlanCommand(program: Command): void {
  program
    .command('plan')
    .argument('<snapshot>', 'JSON or YAML file: nodes, sites, services, sessions (docs/plan.md)')
    .option('--algorithm <name|module>', 'orchestrator, a baseline, or the path of your own module', 'orchestrator')
    .option('--seed <n>', 'of every draw: same seed, same plan', whole, 1)
    .option('--iterations <n>', 'steps of the search; 0 = repair only (default: by the number of sessions)', whole)
    .option('--replan', 'improve also when every session still has its place')
    .option('--explain', 'also say where latency goes, what came second, and what a refused session could have')
    .option('--bound', 'also compute what no plan can pass, and the gap to it')
    .option('--bound-time <duration>', 'for that; what is reached by then holds', durationMs, BOUND_MS)
    .description('plan many sessions at once and certify the plan; nothing is started')
    .action(async (file: string, flags: PlanFlags, command: Command) => {
      const { planFile } = await import('../../main/plan.js');
      const { algorithm, seed, iterations, replan = false, explain = false, bound = false, boundTime } = flags;
      const boundMs = bound ? boundTime : null;
      const outcome = await planFile({ file, algorithm, seed, iterations, replan, explain, boundMs });
      print(globalOptions(command), outcome.plan, () => planText(outcome));
    });
}

function whole(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 0 || value > 1e9)
    throw new InvalidArgumentError(`is ${text}, must be a whole number 0..1e9`);
  return value;
}

function planText({ plan, sessions, accuracy }: PlanOutcome): string {
  const rows = plan.sessions
    .slice(0, SESSIONS_SHOWN_MAX)
    .map((one) => [
      ...[String(one.session_id), one.variant, one.accuracy.toFixed(3), ms(one.latency_ms)],
      one.placement
        .map(
          (place) =>
            `${place.handler_id}@${place.node_id}${place.alternative === 'default' ? '' : ` ${place.alternative}`}`,
        )
        .join(', '),
    ]);
  const more = plan.sessions.length - rows.length;
  return [
    table({ columns: [right('session'), left('variant'), right('accuracy'), right('ms'), left('handler@node')], rows }),
    ...(more > 0 ? [`and ${more} more; --json has all`] : []),
    ...(plan.explained ?? []).slice(0, SESSIONS_SHOWN_MAX).flatMap(explainedLines),
    ...plan.refused.slice(0, SESSIONS_SHOWN_MAX).map(refusedText),
    `${plan.algorithm}: ${plan.sessions.length} of ${sessions} admitted, mean accuracy ${accuracy?.toFixed(3) ?? '-'}, ${plan.moved} handlers moved; certified`,
    ...(plan.bound === undefined ? [] : [boundText(plan.utility, plan.bound)]),
  ].join('\n');
}

function explainedLines({ session_id, handlers, links, runner_up }: FleetExplained): string[] {
  const linkMs = links.reduce((sum, one) => sum + one.latency_ms, 0);
  const rival = (one: FleetExplained['handlers'][number]) =>
    one.runner_up === undefined
      ? 'the only way'
      : `not ${one.runner_up.alternative} @${one.runner_up.node_name}: ${one.runner_up.why_not}`;
  return [
    `session ${session_id}: ${runner_up === undefined ? 'no other plan' : `not ${runner_up.placement}: ${runner_up.why_not}`}; links ${ms(linkMs)} ms`,
    ...handlers.map(
      (one) =>
        `  ${one.handler_name} ${one.alternative} @${one.node_name}: compute ${ms(one.compute_ms)} + wait ${ms(one.queue_ms)} ms; ${rival(one)}`,
    ),
  ];
}

function refusedText({ session_id, reason, proposals = [] }: FleetRefused): string {
  const instead = proposals.length === 0 ? '' : `; would be admitted with ${proposals.join(', or ')}`;
  return `session ${session_id} refused: ${reason}${instead}`;
}

function boundText(utility: number, { utility: most, gap, finished, rounds }: FleetBound): string {
  const text = `utility ${utility.toFixed(2)}, no plan has more than ${most.toFixed(2)}: gap ${(100 * gap).toFixed(2)} %`;
  if (finished) return text;
  return `${text}\nthe bound holds but was not finished (${rounds} rounds): a longer --bound-time may show a smaller gap`;
}
