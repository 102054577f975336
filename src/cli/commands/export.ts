/** `export TABLE --format csv|parquet`. */
import type { Command } from 'commander';
import type { ExportFormat } from '../../main/export.js';
import { durationMs, integer } from '../arguments.js';
import { createProgress, globalOptions, print, usage } from '../output.js';

interface ExportFlags {
  readonly format: string;
  readonly out?: string;
  readonly last?: number;
  readonly session?: number;
  readonly config?: string;
  readonly database?: string;
}

export function addExportCommand(program: Command): void {
  program
    .command('export')
    .argument('<table>', 'sys_info, packet_info ..., or aggregates: sys_info_minute, packet_info_hour ...')
    .option('--format <format>', 'csv or parquet', 'csv')
    .option('--out <file>', 'file to write (default for csv: standard output)')
    .option('--last <duration>', 'only rows of lately, for example 90m or 12h', durationMs)
    .option('--session <id>', 'only rows of this session', integer)
    .option('--database <file>', 'SQLite file (default: of the last `demo` or `up`, else var/orchestrator.db)')
    .option('--config <conf>', 'the database of this configuration file of a coordinator or collector')
    .description('write a table of what was reported to a file, for a spreadsheet or a notebook')
    .action(async (table: string, flags: ExportFlags, command: Command) => {
      const options = globalOptions(command);
      const { EXPORT_FORMATS, exportTable } = await import('../../main/export.js');
      const format = EXPORT_FORMATS.find((one) => one === flags.format) as ExportFormat | undefined;
      if (format === undefined) throw usage(`--format ${flags.format}: it must be ${EXPORT_FORMATS.join(' or ')}`);
      const out = flags.out ?? null;
      if (out === null && format === 'parquet') throw usage('--format parquet needs --out FILE');
      const progress = createProgress(options);
      try {
        const rows = await exportTable({
          ...{ table, format, out, session_id: flags.session, database: flags.database, config: flags.config },
          lastS: flags.last === undefined ? undefined : flags.last / 1000,
          now: Date.now() / 1000,
          onSource: (source) => {
            progress.clear();
            process.stderr.write(`reading ${source}\n`);
          },
          onRows: (count) => progress.say(`${count} rows`),
        });
        progress.end();
        if (out !== null) print(options, { table, format, file: out, rows }, () => `${rows} rows in ${out}`);
      } finally {
        progress.end();
      }
    });
}
