/** `events`: what happened, and with --follow what happens. */
import type { Command } from 'commander';
import type { OrchestratorEvent } from '../../contracts/event.js';
import { integer } from '../arguments.js';
import { withCoordinator } from '../connection.js';
import { globalOptions, print } from '../output.js';

interface EventsFlags {
  readonly session?: number;
  readonly limit: number;
  readonly follow?: boolean;
}

/** The newest ones that are shown. */
const LIMIT_DEFAULT = 50;

export function addEventsCommand(program: Command): void {
  program
    .command('events')
    .option('--session <id>', 'of one session only', integer)
    .option('--limit <n>', 'the newest so many', integer, LIMIT_DEFAULT)
    .option('--follow', 'go on with those that come, until Ctrl-C')
    .description('transitions of nodes, sessions and handlers, with their reasons')
    .action(async ({ session, limit, follow }: EventsFlags, command: Command) => {
      const options = globalOptions(command);
      await withCoordinator(command, async (client) => {
        const past = await client.events({ session_id: session, limit });
        if (follow !== true) return print(options, past, () => past.map(eventLine).join('\n'));
        const show = (event: OrchestratorEvent) =>
          process.stdout.write(`${options.json ? JSON.stringify(event) : eventLine(event)}\n`);
        for (const event of past) show(event);
        const stop = new AbortController();
        process.once('SIGINT', () => stop.abort());
        for await (const event of client.followEvents({ signal: stop.signal, after: past.at(-1)?.timestamp ?? 0 })) {
          if (session === undefined || event.session_id === session) show(event);
        }
      });
    });
}

/** `12:00:03.1 session.moved session 1: ...`, in UTC. */
function eventLine({ timestamp, kind, message }: OrchestratorEvent): string {
  return `${new Date(timestamp * 1000).toISOString().slice(11, 21)} ${kind} ${message}`;
}
