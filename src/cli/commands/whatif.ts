/** `snapshot`, `whatif` and `capacity`: questions to the live fleet, or to a snapshot file; nothing is started or moved. */
import type { Command } from 'commander';
import type { FleetSnapshot } from '../../contracts/fleet.js';
import type { Objective } from '../../contracts/plan.js';
import type { Asked } from '../../main/whatif.js';
import { durationMs, idOrName, integer, number } from '../arguments.js';
import { withCoordinator } from '../connection.js';
import { globalOptions, print } from '../output.js';

interface AskFlags {
  readonly snapshot?: string;
  readonly fps?: number;
  readonly maxLatency?: number;
  readonly minAccuracy?: number;
  readonly sourceNode?: string;
}

interface WhatIfFlags extends AskFlags {
  readonly lose?: readonly string[];
  readonly add?: number;
  readonly service?: string;
}

/** Refusals and changes spelled out; `--json` has all. */
const LINES_MAX = 20;

export function addWhatIfCommands(program: Command): void {
  program
    .command('snapshot')
    .description('the live fleet as JSON that `plan`, `whatif` and `capacity` read (docs/plan.md)')
    .action(async (_flags: unknown, command: Command) => {
      const fleet = await withCoordinator(command, (client) => client.fleet());
      print(globalOptions(command), fleet, () => JSON.stringify(fleet, null, 2));
    });
  asking(program.command('whatif'))
    .option('--lose <node...>', 'nodes (id or name) that would be gone')
    .option('--add <n>', 'sessions that would be added', integer)
    .option('--service <service>', 'service_name of the added ones')
    .description('what would become of the sessions; nothing is changed')
    .action(async (flags: WhatIfFlags, command: Command) => whatIf(flags, command));
  asking(program.command('capacity').argument('<service>', 'service_name'))
    .description('how many more sessions of a service fit, nobody else losing a place')
    .action(async (service: string, flags: AskFlags, command: Command) => capacity(service, flags, command));
}

function asking(command: Command): Command {
  return command
    .option('--snapshot <file>', 'ask this snapshot instead of the live fleet')
    .option('--source-node <node>', 'node (id or name) of the added sources')
    .option('--fps <n>', 'frames per second', number)
    .option('--max-latency <duration>', 'end-to-end p95, for example 80ms', durationMs)
    .option('--min-accuracy <n>', '0 to 1', number);
}

async function fleetOf({ snapshot }: AskFlags, command: Command): Promise<FleetSnapshot> {
  const { readFleet } = await import('../../main/whatif.js');
  return snapshot === undefined ? withCoordinator(command, (client) => client.fleet()) : readFleet(snapshot);
}

function askedOf(service: string, { fps, maxLatency, minAccuracy, sourceNode }: AskFlags): Asked {
  const objective: Partial<Objective> = {
    ...(fps === undefined ? {} : { fps }),
    ...(maxLatency === undefined ? {} : { latency_ms_max: maxLatency }),
    ...(minAccuracy === undefined ? {} : { accuracy_min: minAccuracy }),
  };
  return { service, objective, ...(sourceNode === undefined ? {} : { sourceNode: idOrName(sourceNode) }) };
}

async function whatIf(flags: WhatIfFlags, command: Command): Promise<void> {
  const { askWhatIf } = await import('../../main/whatif.js');
  const { lose = [], add = 0, service } = flags;
  const asked = service === undefined ? null : askedOf(service, flags);
  const answer = askWhatIf(await fleetOf(flags, command), { lose: lose.map(idOrName), add, asked });
  print(globalOptions(command), answer, () => {
    const { running, added, degraded, plan } = answer;
    const lines = [
      `would hold ${running.kept} of ${running.now} running${added.asked > 0 ? ` and ${added.admitted} of ${added.asked} added` : ''}; ${plan.moved} handlers moved, ${degraded.length} sessions less accurate; certified`,
      ...degraded.map((one) => `session ${one.session_id}: accuracy ${one.from.toFixed(3)} -> ${one.to.toFixed(3)}`),
      ...plan.refused.map((one) => `session ${one.session_id} has no place: ${one.reason}`),
    ];
    const more = lines.length - LINES_MAX;
    return [...lines.slice(0, LINES_MAX), ...(more > 0 ? [`and ${more} more; --json has all`] : [])].join('\n');
  });
}

async function capacity(service: string, flags: AskFlags, command: Command): Promise<void> {
  const { askCapacity } = await import('../../main/whatif.js');
  const answer = askCapacity(await fleetOf(flags, command), askedOf(service, flags));
  print(globalOptions(command), answer, () => {
    const { running, more, moreSmaller, objective, bottleneck } = answer;
    const { fps, latency_ms_max: latency } = objective;
    const goal = `${fps} fps${latency === undefined ? '' : `, p95 < ${latency} ms`}`;
    const smaller = moreSmaller > more ? `, or ${running + moreSmaller} with smaller variants` : '';
    const why = bottleneck === null ? '' : `; bottleneck: ${bottleneck}`;
    return `${running} running of about ${running + more} at ${goal}${smaller}${why}`;
  });
}
