/** `check DIR|FILE...`: everything that can be known before a start; exit 1 when anything is wrong. */
import type { Command } from 'commander';
import type { CheckResult } from '../../config/check.js';
import { globalOptions, print } from '../output.js';

export function addCheckCommand(program: Command): void {
  program
    .command('check')
    .argument('<paths...>', 'directories and files')
    .description('check configuration, node, handler type and service files')
    .action(async (paths: string[], _flags: unknown, command: Command) => {
      const { checkConfiguration } = await import('../../main/check.js');
      const result = checkConfiguration(paths);
      const body = { ...result, problems: result.problems.map((problem) => problem.toProblem()) };
      print(globalOptions(command), body, () => checkText(result));
      if (result.problems.length > 0) process.exitCode = 1;
    });
}

function checkText({ files, problems, warnings, skipped }: CheckResult): string {
  const kinds = new Map<string, number>();
  for (const { kind } of files) kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
  const counted = [...kinds].map(([kind, count]) => `${count} ${kind}`).join(', ') || 'none';
  return [
    ...problems.map((problem) => `error ${problem.code}: ${problem.message}`),
    ...warnings.map((warning) => `warning: ${warning}`),
    ...(skipped.length > 0 ? [`skipped, no configuration: ${skipped.join(', ')}`] : []),
    `${files.length} file${files.length === 1 ? '' : 's'} checked (${counted}): ${problems.length === 0 ? 'no problem' : `${problems.length} problem${problems.length === 1 ? '' : 's'}`}`,
  ].join('\n');
}
