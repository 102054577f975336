/** `drain` and `undrain`: empty a node before maintenance, and use it again. */
import type { Command } from 'commander';
import { drainWords } from '../../contracts/drain.js';
import { awaitDrained } from '../../main/drain-wait.js';
import { idOrName } from '../arguments.js';
import { withCoordinator } from '../connection.js';
import { createProgress, globalOptions, print } from '../output.js';

export function addDrainCommands(program: Command): void {
  program
    .command('drain')
    .argument('<node>', 'node name or id')
    .description('move handlers off a node while frames flow and place nothing new there, before maintenance')
    .action(async (node: string, _flags: unknown, command: Command) => {
      const options = globalOptions(command);
      const progress = createProgress(options);
      try {
        const drained = await withCoordinator(command, async (client) => {
          const { node_id } = await client.drainNode(idOrName(node));
          return awaitDrained(client, node_id, ({ drain }) => progress.say(`${drain.left} handlers to move`));
        });
        progress.end();
        print(options, drained, () => `${drained.node_name} drained | ${drainWords(drained.drain)}`);
      } catch (error) {
        progress.end();
        throw error;
      }
    });
  program
    .command('undrain')
    .argument('<node>', 'node name or id')
    .description('let a drained node be used again')
    .action(async (node: string, _flags: unknown, command: Command) => {
      const used = await withCoordinator(command, (client) => client.undrainNode(idOrName(node)));
      print(globalOptions(command), used, () => `${used.node_name} is used again`);
    });
}
