/** `sql STATEMENT`. */
import type { Command } from 'commander';
import { tokenFromEnvironment } from '../../config/environment.js';
import type { SqlTable } from '../../main/sql.js';
import { table } from '../../main/text/table.js';
import { createProgress, globalOptions, print } from '../output.js';

interface SqlFlags {
  readonly config?: string;
  readonly database?: string;
  readonly collector?: string;
}

export function addSqlCommand(program: Command): void {
  program
    .command('sql')
    .argument('<statement>', 'one read-only statement')
    .option('--database <file>', 'SQLite file (default: of the last `demo` or `up`, else var/orchestrator.db)')
    .option('--config <conf>', 'the database of this configuration file of a coordinator or collector')
    .option('--collector <url>', 'ask this collector instead')
    .description('query what was reported: sys_info, proc_info, packet_info, profile, link_info ...')
    .action(async (statement: string, flags: SqlFlags, command: Command) => {
      const options = globalOptions(command);
      const { runSql } = await import('../../main/sql.js');
      const progress = createProgress(options);
      const onSource = (source: string) => {
        progress.clear();
        process.stderr.write(`reading ${source}\n`);
        progress.say('running the statement');
      };
      try {
        const result = await runSql({ ...flags, statement, token: tokenFromEnvironment(), onSource });
        progress.end();
        print(options, records(result), () => sqlText(result));
        if (result.truncated === true) process.stderr.write('there are more rows than one statement may return\n');
      } finally {
        progress.end();
      }
    });
}

function records({ columns, rows }: SqlTable): Record<string, unknown>[] {
  return rows.map((row) => Object.fromEntries(columns.map((name, index) => [name, row[index]])));
}

function sqlText({ columns, rows }: SqlTable): string {
  const isNumber = (index: number) => rows.every((row) => row[index] === null || typeof row[index] === 'number');
  return table({
    columns: columns.map((header, index) => ({ header, align: isNumber(index) ? 'right' : 'left' })),
    rows: rows.map((row) => row.map((value) => (value === null ? 'NULL' : String(value)))),
  });
}
