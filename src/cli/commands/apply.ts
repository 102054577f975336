/** `apply`: a changed definition of a service rolls through its running sessions. */
import type { Command } from 'commander';
import { readDocument } from '../../config/documents.js';
import type { ApplyResult } from '../../contracts/apply.js';
import { applyAndWait } from '../../main/apply-wait.js';
import { withCoordinator } from '../connection.js';
import { createProgress, globalOptions, print } from '../output.js';

export function addApplyCommand(program: Command): void {
  program
    .command('apply')
    .argument('<file>', 'service file (JSON or YAML)')
    .option('--dry-run', 'say what would change, and change nothing')
    .description('roll a changed service definition through its running sessions while frames flow')
    .action(async (file: string, flags: { dryRun?: boolean }, command: Command) => {
      const options = globalOptions(command);
      const definition = readDocument(file, 'SERVICE_FILE_INVALID') as object;
      if (flags.dryRun === true) {
        const result = await withCoordinator(command, (client) => client.applyService({ definition, dry_run: true }));
        print(options, result, () => applyText(result));
        return;
      }
      const progress = createProgress(options);
      let begun: ApplyResult | null = null;
      try {
        const applied = await withCoordinator(command, (client) =>
          applyAndWait(client, definition, (result) => {
            begun = result;
            progress.say('loading models');
          }),
        );
        progress.end();
        print(options, { ...begun!, ...applied }, () => `${applyText(begun!)}\n${applied.message}`);
      } catch (error) {
        progress.end();
        throw error;
      }
    });
}

function applyText({ service_name, sessions }: ApplyResult): string {
  if (sessions.length === 0) return `no session of ${service_name} runs`;
  return sessions.map(({ session_id, outcome, words }) => `session ${session_id} ${outcome}: ${words}`).join('\n');
}
