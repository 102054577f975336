/** `db status CONF`, `db migrate CONF`. */
import type { Command } from 'commander';
import type { DatabaseStatus } from '../../main/db.js';
import { createProgress, globalOptions, print } from '../output.js';

export function addDbCommands(program: Command): void {
  const db = program.command('db').description('the schema of the configured database');
  db.command('status')
    .argument('<conf>', 'configuration file of a coordinator or collector')
    .description('show which version the schema has; nothing is changed')
    .action(async (conf: string, _flags: unknown, command: Command) => {
      const { databaseStatus } = await import('../../main/db.js');
      const status = await databaseStatus(conf);
      print(globalOptions(command), status, () => statusText(status));
    });
  db.command('migrate')
    .argument('<conf>', 'configuration file of a coordinator or collector')
    .description('bring the schema to the newest version (coordinator and collector do so too when they start)')
    .action(async (conf: string, _flags: unknown, command: Command) => {
      const options = globalOptions(command);
      const { migrateDatabase } = await import('../../main/db.js');
      const progress = createProgress(options);
      try {
        progress.say('migrating');
        const { before, after } = await migrateDatabase(conf);
        progress.end();
        print(options, after, () => `${statusText(after)}\napplied   ${after.version - before.version}`);
      } finally {
        progress.end();
      }
    });
}

function statusText({ engine, database, version, known }: DatabaseStatus): string {
  const pending = known - version;
  const state = pending === 0 ? 'up to date' : `${pending} migration${pending === 1 ? '' : 's'} to apply`;
  return `engine    ${engine}\ndatabase  ${database}\nversion   ${version} of ${known}: ${state}`;
}
