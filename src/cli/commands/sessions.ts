/** `session start|list|show|stop|delete|explain`. */
import type { Command } from 'commander';
import type { Explanation } from '../../client/index.js';
import { OrchestratorError } from '../../contracts/errors.js';
import type { Refusal } from '../../contracts/plan.js';
import type { SessionView } from '../../contracts/session.js';
import { awaitRunning } from '../../main/session-wait.js';
import { addressesText } from '../../main/text/addresses-text.js';
import { choiceLine, explainText, objectiveText, placementTable, refusalText } from '../../main/text/plan-text.js';
import { predictionTable } from '../../main/text/prediction-text.js';
import {
  handlerNotes,
  handlerStatsTable,
  inferenceLines,
  linkStatsTable,
  observedHandlers,
  sinkFigures,
  summaryLine,
} from '../../main/text/session-text.js';
import { left, ms, right, table } from '../../main/text/table.js';
import { durationMs, type HandlerParams, handlerParam, idOrName, integer, number } from '../arguments.js';
import { withCoordinator } from '../connection.js';
import { createProgress, globalOptions, print } from '../output.js';

interface StartFlags {
  readonly source?: string;
  readonly sourceNode?: string;
  readonly fps?: number;
  readonly maxLatency?: number;
  readonly minAccuracy?: number;
  readonly delivery?: 'latest' | 'all';
  readonly variant?: string;
  readonly weight?: number;
  readonly stay?: string;
  readonly param?: HandlerParams;
  readonly id?: number;
  readonly dryRun?: boolean;
  readonly start: boolean;
}

export function addSessionCommands(program: Command): void {
  const session = program.command('session').description('sessions');
  addStart(session);
  session
    .command('list')
    .description('all sessions')
    .action(async (_flags: unknown, command: Command) => {
      const sessions = await withCoordinator(command, (client) => client.sessions());
      print(globalOptions(command), sessions, () => sessionTable(sessions));
    });
  session
    .command('show')
    .argument('<session>', 'session id', integer)
    .description('what is measured of a session now')
    .action(async (id: number, _flags: unknown, command: Command) => {
      const one = await withCoordinator(command, (client) => client.session(id));
      print(globalOptions(command), one, () => sessionText(one));
    });
  session
    .command('stop')
    .argument('<session>', 'session id', integer)
    .description('stop a session; what is in flight is still delivered')
    .action(async (id: number, _flags: unknown, command: Command) => {
      const one = await withCoordinator(command, (client) => client.stopSession(id));
      print(globalOptions(command), one, () => `session ${id}: ${one.observed}`);
    });
  session
    .command('delete')
    .argument('<session>', 'session id', integer)
    .description('delete a stopped session')
    .action(async (id: number, _flags: unknown, command: Command) => {
      await withCoordinator(command, (client) => client.deleteSession(id));
      print(globalOptions(command), { session_id: id, deleted: true }, () => `session ${id}: deleted`);
    });
  session
    .command('explain')
    .argument('<session>', 'session id', integer)
    .description('why each handler is where it is, and what was measured since')
    .action(async (id: number, _flags: unknown, command: Command) => {
      const explanation = await withCoordinator(command, (client) => client.explain(id));
      print(globalOptions(command), explanation, () => explanationText(explanation));
    });
}

function addStart(session: Command): void {
  session
    .command('start')
    .argument('<service>', 'service name or id')
    .option(
      '--source <source>',
      'a video, pictures (file, pattern, directory), a camera (0) or a stream (rtsp://, http://), on the source node',
    )
    .option('--source-node <node>', 'node (id or name) of the source; the first node of type client when absent')
    .option('--fps <n>', 'frames per second', number)
    .option('--max-latency <duration>', 'end-to-end p95, for example 80ms', durationMs)
    .option('--min-accuracy <n>', '0 to 1', number)
    .option('--delivery <kind>', '`latest` (live, newest wins) or `all` (lossless)')
    .option('--variant <name>', 'force one variant')
    .option('--weight <n>', 'what keeping it is worth against others, 1 when absent', number)
    .option('--stay <label>', 'only nodes with this label may run any of it, its source included')
    .option('--param <handler.name=value>', 'a parameter of one handler; may be repeated', handlerParam)
    .option('--id <n>', 'session id to use', integer)
    .option('--dry-run', 'plan and explain, start nothing')
    .option('--no-start', 'prepare only')
    .description('start a session: say the goal, not the place')
    .action(async (service: string, flags: StartFlags, command: Command) => {
      await startSession(service, flags, command);
    });
}

async function startSession(service: string, flags: StartFlags, command: Command): Promise<void> {
  const options = globalOptions(command);
  const progress = createProgress(options);
  try {
    await withCoordinator(command, async (client) => {
      progress.say('planning');
      const created = await client.createSession({
        service: idOrName(service),
        source: flags.source,
        source_node: flags.sourceNode === undefined ? undefined : idOrName(flags.sourceNode),
        objective: objectiveOf(flags),
        delivery: flags.delivery,
        variant: flags.variant,
        weight: flags.weight,
        stay: flags.stay,
        params: flags.param,
        session_id: flags.id,
        start: flags.start,
        dry_run: flags.dryRun === true,
      });
      if (created.session_id === null || !flags.start) {
        progress.end();
        const head =
          created.session_id === null ? 'dry run: nothing was started' : `session ${created.session_id}: preparing`;
        print(options, created, () => `${head}\n${explainText(created.plan)}`);
        return;
      }
      progress.say('loading models');
      const view = await awaitRunning(client, created.session_id);
      const nodes = await client.nodes();
      progress.end();
      print(options, { ...created, session: view }, () =>
        [
          `session ${created.session_id}: ${view.observed}`,
          choiceLine(created.plan),
          placementTable(created.plan),
          addressesText(created.session_id!, created.plan, nodes),
        ].join('\n'),
      );
    });
  } catch (error) {
    progress.end();
    throw withRefusal(error, options.json);
  }
}

function objectiveOf({ fps, maxLatency, minAccuracy }: StartFlags) {
  if (fps === undefined && maxLatency === undefined && minAccuracy === undefined) return undefined;
  return { fps: fps ?? 10, latency_ms_max: maxLatency, accuracy_min: minAccuracy };
}

/** A refusal is printed with its reasons; with --json they are in the problem's context already. */
function withRefusal(error: unknown, json: boolean): unknown {
  if (json || !(error instanceof OrchestratorError) || error.code !== 'SESSION_REFUSED') return error;
  const refusal = error.context.refusal as Refusal | undefined;
  return refusal === undefined ? error : new OrchestratorError(error.code, refusalText(refusal), error.context);
}

export function sessionTable(sessions: readonly SessionView[]): string {
  return table({
    columns: [
      ...[right('id'), left('service'), left('variant'), left('desired'), left('observed'), left('objective')],
      ...[right('fps'), right('p50 ms'), right('p95 ms'), right('dropped'), left('nodes'), left('problem')],
    ],
    rows: sessions.map((session) => {
      const sink = sinkFigures(session);
      const nodes = [...new Set(session.plan.handlers.map((handler) => handler.node_name))];
      return [
        ...[String(session.session_id), session.service_name, session.plan.variant, session.desired, session.observed],
        objectiveText(session.objective),
        ...[
          sink?.fps.toFixed(1) ?? '-',
          ms(sink?.endToEndP50Ms),
          ms(sink?.endToEndP95Ms),
          String(sink?.dropped ?? '-'),
        ],
        ...[nodes.join(', '), session.problem ?? handlerNotes(session).join('; ')],
      ];
    }),
  });
}

function sessionText(session: SessionView): string {
  return [
    `session ${session.session_id} ${session.service_name}: ${session.observed} (desired ${session.desired}), ${objectiveText(session.objective)}`,
    ...(session.problem === undefined ? [] : [session.problem]),
    summaryLine(session),
    ...handlerNotes(session),
    ...inferenceLines(observedHandlers(session).map(({ handler }) => handler)),
    '',
    handlerStatsTable(session),
    '',
    linkStatsTable(session),
  ].join('\n');
}

function explanationText(explanation: Explanation): string {
  const { session_id, observed, problem, plan, handlers } = explanation;
  const inferences = inferenceLines(handlers);
  return [
    `session ${session_id} ${plan.service_name}: ${observed}${problem === undefined ? '' : `: ${problem}`}`,
    explainText(plan),
    ...(inferences.length === 0 ? [] : ['', 'how models are run', ...inferences.map((line) => `  ${line}`)]),
    '',
    'predicted and measured',
    predictionTable(explanation),
  ].join('\n');
}
