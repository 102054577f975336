/** Commands that start a system of their own on this computer: `demo`, `run`, `up`. */
import type { Command } from 'commander';
import { tokenFromEnvironment } from '../../config/environment.js';
import { attributesText } from '../../contracts/packet.js';
import type { RunRecord, RunSummary } from '../../main/run.js';
import { choiceLine } from '../../main/text/plan-text.js';
import { left, ms, right, table } from '../../main/text/table.js';
import { type HandlerParams, handlerParam, idOrName, integer, type NodeShapes, nodeShape } from '../arguments.js';
import { INTERRUPTED, interruptible } from '../interrupt.js';
import { createProgress, type GlobalOptions, globalOptions, type Progress, usage } from '../output.js';

export function addLocalCommands(program: Command): void {
  addDemo(program);
  addRun(program);
  addUp(program);
}

function addDemo(program: Command): void {
  program
    .command('demo')
    .option('--once', 'end after the fail-over instead of staying until Ctrl-C')
    .description('a face service over three unequal nodes on this computer; one of them is killed')
    .action(async (flags: { once?: boolean }, command: Command) => {
      const options = globalOptions(command);
      const progress = createProgress(options);
      const { runDemo } = await import('../../main/demo.js');
      try {
        await interruptible((signal) =>
          runDemo({
            once: flags.once === true,
            token: tokenFromEnvironment(),
            signal,
            onProgress: (message) => progress.say(message),
            onText: (text) => {
              progress.clear();
              (options.json ? process.stderr : process.stdout).write(`${text}\n`);
            },
            onResult: (result) => {
              progress.clear();
              if (options.json) process.stdout.write(`${JSON.stringify(result, null, 2)}\n`);
            },
          }),
        );
      } finally {
        progress.end();
      }
    });
}

interface RunFlags {
  readonly input: string[];
  readonly variant?: string;
  readonly gallery?: string;
  readonly embeddings?: boolean;
  readonly output?: string;
  readonly services?: string;
  readonly param?: HandlerParams;
}

function addRun(program: Command): void {
  program
    .command('run')
    .argument('<service>', 'service name or id, for example face_recognition')
    .requiredOption('--input <paths...>', 'pictures: files, patterns or directories')
    .option('--variant <name>', 'force one variant')
    .option('--gallery <dir>', 'one folder of pictures per person: faces get their names')
    .option('--embeddings', 'add the feature vector of each face')
    .option('--output <dir>', 'write annotated pictures here')
    .option('--services <dir>', 'directory of service files (default: those of the package)')
    .option('--param <handler.name=value>', 'a parameter of one handler; may be repeated', handlerParam)
    .description('run a service over pictures on this computer; --json prints one line per picture')
    .addHelpText('after', '\nExit code 1 when any picture failed; its line has "error" in place of "boxes".')
    .action(async (service: string, flags: RunFlags, command: Command) => {
      const options = globalOptions(command);
      const progress = createProgress(options);
      const { runService } = await import('../../main/run.js');
      const printer = recordPrinter(options, progress);
      try {
        const summary = await interruptible((signal) =>
          runService({
            service: idOrName(service),
            inputs: flags.input,
            variant: flags.variant,
            gallery: flags.gallery,
            embeddings: flags.embeddings,
            output: flags.output,
            params: flags.param,
            servicesDir: flags.services,
            token: tokenFromEnvironment(),
            signal,
            onProgress: (message) => progress.say(message),
            onPlan: (plan) => {
              progress.clear();
              if (!options.json) process.stderr.write(`${choiceLine(plan)}\n`);
            },
            onRecord: printer.record,
          }),
        );
        progress.end();
        if (summary === 'interrupted') process.exitCode = INTERRUPTED;
        else printer.end(summary);
      } finally {
        progress.end();
      }
    });
}

function recordPrinter(options: GlobalOptions, progress: Progress) {
  const records: RunRecord[] = [];
  return {
    record: (record: RunRecord, total: number) => {
      records.push(record);
      if (options.json) {
        progress.clear();
        process.stdout.write(`${JSON.stringify(record)}\n`);
      }
      progress.say(`${records.length} of ${total} pictures`);
    },
    end: (summary: RunSummary) => {
      if (!options.json) process.stdout.write(`${recordTable(records)}\n`);
      const rate =
        summary.pictures > 1 ? ` (${(((summary.pictures - 1) / summary.elapsedMs) * 1000).toFixed(1)} per second)` : '';
      const failed = summary.failed === 0 ? '' : `, ${summary.failed} failed`;
      process.stderr.write(`${summary.pictures} picture${summary.pictures === 1 ? '' : 's'}${rate}${failed}\n`);
      if (summary.failed > 0) process.exitCode = 1;
    },
  };
}

/** One line per box; a picture without boxes, or that failed, has one line that says so. */
export function recordTable(records: readonly RunRecord[]): string {
  const rows = records.flatMap((record) => {
    if ('error' in record) return [[record.input, ...Array.from({ length: 7 }, () => ''), record.error]];
    const delay = ms(record.latency_ms);
    if (record.boxes.length === 0) return [[record.input, delay, 'nothing found']];
    return record.boxes.map((box, index) => [
      ...(index === 0 ? [record.input, delay] : ['', '']),
      ...[box.label, box.prob.toFixed(3)],
      ...[box.x, box.y, box.w, box.h].map((value) => String(Math.round(value))),
      [attributesText(box.attributes), box.note ?? ''].filter((text) => text !== '').join('; '),
    ]);
  });
  const columns = [
    left('input'),
    right('ms'),
    left('label'),
    right('prob'),
    right('x'),
    right('y'),
    right('w'),
    right('h'),
    left('note'),
  ];
  return table({ columns, rows });
}

interface UpFlags {
  readonly nodes: number;
  readonly port: number;
  readonly services?: string;
  readonly allow?: string[];
  readonly command?: string[];
  readonly shape?: NodeShapes;
}

const SHAPE_HELP = `
Nodes are called client, node-1, node-2 ... With --shape node-1=20,100 everything between node-1 and the others takes
20 ms more for a round trip and shares 100 Mbit/s each way; what is measured and where handlers are placed follows from it.`;

function addUp(program: Command): void {
  program
    .command('up')
    .option('--nodes <n>', 'local node agents', integer, 1)
    .option('--port <n>', 'port of the coordinator', integer, 7000)
    .option('--services <dir>', 'directory of service files (default: those of the package)')
    .option(
      '--allow <dirs...>',
      'directories, devices and addresses (rtsp://cam) that sessions may name (default: the working directory)',
    )
    .option('--command <lines...>', 'command lines that external handlers may start, word for word (default: none)')
    .option('--shape <node=rtt_ms,mbit>', 'emulate the access link of a node; may be repeated', nodeShape)
    .description('start a controller and local nodes, until Ctrl-C')
    .addHelpText('after', SHAPE_HELP)
    .action(async (flags: UpFlags, command: Command) => {
      if (flags.nodes < 1 || flags.nodes > 32) throw usage(`--nodes ${flags.nodes}: 1 to 32 nodes`);
      const options = globalOptions(command);
      const progress = createProgress(options);
      const { runUp } = await import('../../main/up.js');
      try {
        await interruptible((signal) =>
          runUp({
            nodes: flags.nodes,
            port: flags.port,
            shapes: flags.shape ?? {},
            servicesDir: flags.services,
            allow: flags.allow ?? ['.'],
            commands: flags.command ?? [],
            token: tokenFromEnvironment(),
            signal,
            onProgress: (message) => progress.say(message),
            onUp: (facts, text) => {
              progress.end();
              process.stdout.write(options.json ? `${JSON.stringify(facts)}\n` : `${text}\n`);
            },
          }),
        );
      } finally {
        progress.end();
      }
    });
}
