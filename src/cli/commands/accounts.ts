/** `loss`, `trace`: what became of a session's packets and where their time went, from the database. */
import type { Command } from 'commander';
import { lossText } from '../../main/text/loss-text.js';
import { traceText } from '../../main/text/trace-text.js';
import { durationMs, integer } from '../arguments.js';
import { withCoordinator } from '../connection.js';
import { globalOptions, print } from '../output.js';

export function addAccountCommands(program: Command): void {
  program
    .command('loss')
    .argument('<session>', 'session id', integer)
    .option('--last <duration>', 'only what was decided lately, for example 5m', durationMs)
    .description('what became of every sequence that a session emitted: it always sums')
    .action(async (id: number, { last }: { last?: number }, command: Command) => {
      const query = last === undefined ? {} : { last: last / 1000 };
      const loss = await withCoordinator(command, (client) => client.loss(id, query));
      print(globalOptions(command), loss, () => lossText(loss));
    });
  program
    .command('trace')
    .argument('<session>', 'session id', integer)
    .option('--slowest <n>', 'packets to show, the slowest first', integer, 10)
    .option('--last <duration>', 'only packets that arrived lately, for example 60s', durationMs, 60_000)
    .description('where the milliseconds of packets went, across handlers and machines')
    .action(async (id: number, { slowest, last }: { slowest: number; last: number }, command: Command) => {
      const query = { slowest, last: last / 1000 };
      const trace = await withCoordinator(command, (client) => client.trace(id, query));
      print(globalOptions(command), trace, () => traceText(trace));
    });
}
