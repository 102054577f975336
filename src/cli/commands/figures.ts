/** `evaluate` and `profile`: the accuracy and the cost of services, measured here and written where the allocator reads. */
import type { Command } from 'commander';
import { defaultCacheDir } from '../../config/environment.js';
import type { VariantFigures } from '../../main/figures/evaluate.js';
import type { Profiles } from '../../main/figures/profile.js';
import { left, right, table } from '../../main/text/table.js';
import { integer, number } from '../arguments.js';
import { createProgress, globalOptions, print, usage } from '../output.js';

export function addFigureCommands(program: Command): void {
  addEvaluate(program);
  addProfile(program);
}

const SERVICES = ['--services <path>', 'directory of service files, or one (default: those of the package)'] as const;
const CACHE = ['--cache <dir>', '[models] cache_path of the node (default: the one of this user)'] as const;
/** Overlap from which on a detection is right, as the oldest of COCO's figures has it. */
const IOU = 0.5;
const CALLS = 12;

interface EvaluateFlags {
  readonly data?: string;
  readonly variant?: string;
  readonly iou?: number;
  readonly threads?: number;
  readonly services?: string;
  readonly cache?: string;
  readonly write?: boolean;
}

function addEvaluate(program: Command): void {
  program
    .command('evaluate')
    .argument('<service>', 'name or id of a service')
    .option(
      '--data <dir>',
      'annotations.json (COCO), a folder of pictures per person, pairs.txt (default: a set made of the sample pictures)',
    )
    .option('--variant <name>', 'one variant only')
    .option('--iou <n>', `overlap at which a detection is right (default: ${IOU})`, number)
    .option('--threads <n>', 'threads of one inference (default: 1)', integer)
    .option('--write', 'write the accuracies into the service file')
    .option(...SERVICES)
    .option(...CACHE)
    .description('measure the accuracy of each variant on pictures whose truth is known')
    .action(async (name: string, flags: EvaluateFlags, command: Command) => {
      const { evaluateNamed } = await import('../../main/figures/index.js');
      const progress = createProgress(globalOptions(command));
      const { data, iou = IOU, threads = 1, cache = defaultCacheDir(), write = false, ...rest } = flags;
      if (!(iou > 0 && iou <= 1)) throw usage(`--iou ${iou} is not in (0, 1]`);
      try {
        const figures = await evaluateNamed({
          ...{ name, data, iou, threads, write, cacheDir: cache, ...rest },
          onProgress: (message) => progress.say(message),
        });
        progress.end();
        print(globalOptions(command), figures, () => accuracyTable(figures));
      } finally {
        progress.end();
      }
    });
}

const share = (value: number | null) => value?.toFixed(3) ?? '-';

function accuracyTable(figures: readonly VariantFigures[]): string {
  return table({
    columns: [
      ...[left('variant'), right('accuracy'), right('mAP'), right('AUC'), right('rank-1'), right('missed')],
      ...[right('cpu ms'), left('dominated by')],
    ],
    rows: figures.map((one) => [
      ...[one.variant, share(one.accuracy), share(one.map), share(one.auc), share(one.rank_1), String(one.missed)],
      ...[one.cpu_ms.toFixed(1), one.dominated_by ?? '-'],
    ]),
  });
}

interface ProfileFlags {
  readonly all?: boolean;
  readonly calls?: number;
  readonly threads?: number;
  readonly services?: string;
  readonly cache?: string;
  readonly write?: boolean;
}

function addProfile(program: Command): void {
  program
    .command('profile')
    .argument('[service]', 'name or id of a service')
    .option('--all', 'every service')
    .option('--calls <n>', `measured calls of each handler (default: ${CALLS})`, integer)
    .option('--threads <n>', 'threads of one inference (default: 1)', integer)
    .option('--write', 'write the costs, brought to a node of speed 1, into the service files')
    .option(...SERVICES)
    .option(...CACHE)
    .description('measure time, CPU, memory and output of each handler of a service on this node')
    .action(async (name: string | undefined, flags: ProfileFlags, command: Command) => {
      if ((name === undefined) !== (flags.all === true)) throw usage('profile needs either a service or --all');
      const { profileNamed } = await import('../../main/figures/index.js');
      const progress = createProgress(globalOptions(command));
      const { calls = CALLS, threads = 1, cache = defaultCacheDir(), write = false, services } = flags;
      try {
        const profiles = await profileNamed({
          ...{ name: name ?? null, calls, threads, write, services, cacheDir: cache },
          onProgress: (message) => progress.say(message),
        });
        progress.end();
        print(globalOptions(command), profiles, () => costTable(profiles));
      } finally {
        progress.end();
      }
    });
}

function costTable({ speed, threads, handlers }: Profiles): string {
  const rows = handlers.map((one) => [
    ...[one.service, one.handler, one.handler_type_name, one.alternative, one.variants.join(', ')],
    ...[one.service_ms.toFixed(1), one.cpu_ms.toFixed(1), one.cpu_ms_speed_1.toFixed(1)],
    ...[one.mem_mb.toFixed(0), String(one.out_bytes)],
  ]);
  const columns = [
    ...[left('service'), left('handler'), left('type'), left('alternative'), left('variants')],
    ...[right('ms'), right('cpu ms'), right('at speed 1'), right('MiB'), right('bytes out')],
  ];
  return `${table({ columns, rows })}\nspeed of a core here ${speed}, threads of one inference ${threads}`;
}
