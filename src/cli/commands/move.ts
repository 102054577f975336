/** `move`: one handler of a running session goes to another node. */
import type { Command } from 'commander';
import { awaitMoved } from '../../main/move-wait.js';
import { idOrName, integer } from '../arguments.js';
import { withCoordinator } from '../connection.js';
import { createProgress, globalOptions, print } from '../output.js';

export function addMoveCommand(program: Command): void {
  program
    .command('move')
    .argument('<session>', 'session id', integer)
    .argument('<handler>', 'handler name or id')
    .argument('<node>', 'node name or id')
    .description('move a handler to another node while frames flow')
    .action(async (session: number, handler: string, node: string, _flags: unknown, command: Command) => {
      const options = globalOptions(command);
      const progress = createProgress(options);
      try {
        const moved = await withCoordinator(command, async (client) => {
          progress.say('loading models');
          await client.moveHandler(session, { handler: idOrName(handler), node: idOrName(node) });
          return awaitMoved(client, session);
        });
        progress.end();
        print(options, moved, () => moved.message);
      } catch (error) {
        progress.end();
        throw error;
      }
    });
}
