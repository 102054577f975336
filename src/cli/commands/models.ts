/** `models list|show|import|verify|build-hog`. */
import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { defaultCacheDir } from '../../config/environment.js';
import type { ModelFacts, ModelsOptions } from '../../main/models.js';
import { left, right, table } from '../../main/text/table.js';
import { integer, number } from '../arguments.js';
import { createProgress, globalOptions, print, usage } from '../output.js';

export function addModelCommands(program: Command): void {
  const models = program.command('models').description('the models that handlers can name, and their licences');
  addList(models);
  addShow(models);
  addImport(models);
  addVerify(models);
  addBuildHog(models);
}

const CACHE = ['--cache <dir>', '[models] cache_path of the node (default: the one of this user)'] as const;

/** Runs `act` with progress shown, and takes it away however that ends. */
async function withProgress<T>(
  command: Command,
  cache: string | undefined,
  act: (options: ModelsOptions) => Promise<T>,
): Promise<T> {
  const progress = createProgress(globalOptions(command));
  try {
    return await act({ cacheDir: cache ?? defaultCacheDir(), onProgress: (message) => progress.say(message) });
  } finally {
    progress.end();
  }
}

function addList(models: Command): void {
  models
    .command('list')
    .option(...CACHE)
    .option('--measure', 'run each model and say how long it takes here')
    .description('every model with its task, licence, size, input and measured time')
    .action(async (flags: { cache?: string; measure?: boolean }, command: Command) => {
      const { listModels } = await import('../../main/models.js');
      const facts = await withProgress(command, flags.cache, (options) => listModels(options, flags.measure === true));
      print(globalOptions(command), facts, () => modelTable(facts));
    });
}

/** What can be used and what it costs, then where it comes from and how good it is. */
function modelTable(facts: readonly ModelFacts[]): string {
  const costs = table({
    columns: [
      ...[left('model'), left('task'), left('place'), left('any use'), left('licence')],
      ...[right('MiB'), left('input px'), right('ms'), right('ms here'), left('sha256')],
    ],
    rows: facts.map((model) => [
      ...[model.name, model.task, model.place, model.licence_any_use ? 'yes' : 'no', model.licence],
      model.bytes === null ? '-' : (model.bytes / 2 ** 20).toFixed(1),
      ...[model.inputs.join(', ') || '-', model.cpu_ms[0]?.toFixed(1) ?? '-', model.ms_here?.toFixed(1) ?? '-'],
      model.sha256.slice(0, 12),
    ]),
  });
  const accuracies = table({
    columns: [left('model'), left('from'), left('origin'), left('accuracy'), left('source')],
    rows: facts.map(({ name, from, origin, accuracy, accuracy_source }) => [
      ...[name, from, origin, accuracy, accuracy_source],
    ]),
  });
  return `${costs}\n\n${accuracies}`;
}

function addShow(models: Command): void {
  models
    .command('show')
    .argument('<name>', 'name of a model')
    .option(...CACHE)
    .description('everything about one model, its time measured here')
    .action(async (name: string, flags: { cache?: string }, command: Command) => {
      const { showModel } = await import('../../main/models.js');
      const facts = await withProgress(command, flags.cache, (options) => showModel(name, options));
      print(globalOptions(command), facts, () => factLines(facts));
    });
}

function factLines(facts: ModelFacts): string {
  const shown = (value: unknown) => {
    if (Array.isArray(value)) return value.join(', ') || '-';
    return typeof value === 'number' && !Number.isInteger(value) ? value.toFixed(2) : String(value ?? '-');
  };
  const rows = Object.entries(facts).map(([key, value]) => [key, shown(value)]);
  return table({ columns: [left('fact'), left('value')], rows });
}

interface ImportFlags {
  readonly cache?: string;
  readonly name?: string;
  readonly task?: 'detect_face' | 'recognize_face' | 'detect_object';
  readonly head?: string;
  readonly labels?: string;
  readonly width?: number;
  readonly height?: number;
  readonly mean?: readonly [number, number, number];
  readonly scale?: readonly [number, number, number];
  readonly channels?: 'rgb' | 'bgr';
  readonly fit?: 'letterbox' | 'stretch';
  readonly pose?: 'dlib' | 'arcface';
  readonly thresh?: number;
  readonly output?: string;
  readonly origin?: string;
  readonly licence?: string;
  readonly anyUse?: boolean;
}

function addImport(models: Command): void {
  models
    .command('import')
    .argument(
      '<file>',
      'ONNX file, TensorFlow.js model.json or weights manifest; or a name that `list` says is to import',
    )
    .option(...CACHE)
    .option('--name <name>', "its name here (default: the file's)")
    .option(
      '--task <task>',
      'detect_face, recognize_face or detect_object',
      choice('detect_face', 'recognize_face', 'detect_object'),
    )
    .option(
      '--head <head>',
      'how its outputs are read: yolov5, yolov8, yolox, end_to_end ... (default: told by their shapes)',
    )
    .option('--labels <file>', 'names of its classes, one a line')
    .option('--width <px>', 'width of its input, where it takes any', integer)
    .option('--height <px>', 'height of its input, where it takes any', integer)
    .option('--mean <r,g,b>', 'subtracted from each pixel value', three)
    .option('--scale <r,g,b>', 'multiplied with each pixel value after that', three)
    .option('--channels <order>', 'rgb or bgr', choice('rgb', 'bgr'))
    .option('--fit <fit>', 'letterbox or stretch', choice('letterbox', 'stretch'))
    .option('--pose <pose>', 'of recognisers: dlib or arcface', choice('dlib', 'arcface'))
    .option('--thresh <n>', 'least probability, or largest distance of a recogniser', number)
    .option('--output <node>', 'of a graph model: the node whose value is the output')
    .option('--origin <text>', 'where it comes from')
    .option('--licence <text>', 'its licence')
    .option('--any-use', 'its licence allows any use')
    .description('take a model into this node; sessions then name it like those of the catalogue')
    .action(async (path: string, flags: ImportFlags, command: Command) => {
      const { addModel } = await import('../../main/models.js');
      const { cache, anyUse, labels, ...rest } = flags;
      const asked = {
        ...rest,
        path,
        labels: labels === undefined ? undefined : labelsOf(labels),
        licenceAnyUse: anyUse,
      };
      const model = await withProgress(command, cache, (options) => addModel(asked, options));
      const how = model.head ?? (model.like === undefined ? `vectors of ${model.embedding_dim}` : `like ${model.like}`);
      print(
        globalOptions(command),
        model,
        () =>
          `imported ${model.name}: ${model.task}, ${model.width} x ${model.height}, ${how}, licence ${model.licence}`,
      );
    });
}

function labelsOf(path: string): string[] {
  try {
    return readFileSync(path, 'utf8')
      .split(/\r?\n/)
      .map((line) => line.trim())
      .filter((line) => line !== '');
  } catch {
    throw usage(`label file ${path} cannot be read`);
  }
}

function choice(...values: readonly string[]) {
  return (text: string) => {
    if (values.includes(text)) return text;
    throw usage(`${text} is none of ${values.join(', ')}`);
  };
}

/** `127.5` or `103,116,123`. */
function three(text: string): readonly [number, number, number] {
  const values = text.split(',').map(number);
  if (values.length === 1) return [values[0]!, values[0]!, values[0]!];
  if (values.length === 3) return values as unknown as readonly [number, number, number];
  throw usage(`${text} is neither one number nor three`);
}

function addVerify(models: Command): void {
  models
    .command('verify')
    .argument('[names...]', 'models (default: all of this node)')
    .option(...CACHE)
    .description('check the hash of models on this node, load and run them; exit code 1 when one fails')
    .action(async (names: string[], flags: { cache?: string }, command: Command) => {
      const { verifyModels } = await import('../../main/models.js');
      const verdicts = await withProgress(command, flags.cache, (options) => verifyModels(options, names));
      print(globalOptions(command), verdicts, () =>
        table({
          columns: [left('model'), left('state'), left('checked')],
          rows: verdicts.map(({ name, ok, detail }) => [name, ok ? 'ok' : 'BAD', detail]),
        }),
      );
      if (verdicts.some(({ ok }) => !ok)) process.exitCode = 1;
    });
}

function addBuildHog(models: Command): void {
  models
    .command('build-hog')
    .option(...CACHE)
    .description("compile dlib's HOG detector for hog_detect_face on this node (needs g++ and libdlib-dev)")
    .action(async (flags: { cache?: string }, command: Command) => {
      const { buildHog } = await import('../../main/models.js');
      const path = await withProgress(command, flags.cache, (options) => buildHog(options));
      print(globalOptions(command), { path }, () => `built ${path}`);
    });
}
