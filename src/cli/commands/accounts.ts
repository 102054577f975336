/** `loss`: what became of a session's packets, from the database. */
import type { Command } from 'commander';
import { lossText } from '../../main/text/loss-text.js';
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
}
