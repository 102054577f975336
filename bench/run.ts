/** `npm run bench -- NAME... [--rounds N] [--seeds N] [--only CASE] [--json FILE] [--raw FILE]`: runs the named benches (all without names). */
import { spawnSync } from 'node:child_process';
import { parseArgs } from 'node:util';
import { FRAMES_ENVIRONMENT } from '#src/node/index.js';
import { type BenchRow, printTable, writeRows } from './harness.js';

export interface BenchContext {
  readonly rounds: number;
  readonly rawFile: string | undefined;
  /** Instances per case at most, for benches that draw them. */
  readonly seeds: number | undefined;
  /** One case of such a bench: `30/100x1`. */
  readonly only: string | undefined;
}

interface BenchModule {
  run(context: BenchContext): Promise<BenchRow[]>;
  /** Its own form of the table, where one line for each figure would be too long. */
  print?(rows: readonly BenchRow[]): void;
}

const BENCHES: Record<string, () => Promise<BenchModule>> = {
  allocation: () => import('./allocation.js'),
  chain: () => import('./chain.js'),
  links: () => import('./links.js'),
  lossy: () => import('./lossy.js'),
  overload: () => import('./overload.js'),
  recovery: () => import('./recovery.js'),
  simulate: () => import('./simulate.js'),
  store: () => import('./store.js'),
  vision: () => import('./vision.js'),
};

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string', default: '5' },
    seeds: { type: 'string' },
    only: { type: 'string' },
    json: { type: 'string' },
    raw: { type: 'string' },
  },
});

const rounds = Number(values.rounds);
const seeds = values.seeds === undefined ? undefined : Number(values.seeds);
const unknown = positionals.filter((name) => !(name in BENCHES));
if (unknown.length > 0 || !Number.isInteger(rounds) || rounds < 1 || (seeds !== undefined && !(seeds >= 1))) {
  console.error(
    `usage: npm run bench -- [${Object.keys(BENCHES).join('|')}]... [--rounds N >= 1] [--seeds N >= 1] [--only CASE] [--json FILE] [--raw FILE]`,
  );
  process.exit(2);
}

// Ours and peers use memory as a handler host does, which is said to a process before it starts.
const isHostLike = Object.entries(FRAMES_ENVIRONMENT).every(([name, value]) => process.env[name] === value);
if (!isHostLike) {
  const env = { ...process.env, ...FRAMES_ENVIRONMENT };
  const { status } = spawnSync(process.execPath, process.argv.slice(1), { stdio: 'inherit', env });
  process.exit(status ?? 1);
}

const all: BenchRow[] = [];
for (const name of positionals.length > 0 ? positionals : Object.keys(BENCHES)) {
  const { run, print = printTable } = await BENCHES[name]!();
  const rows = await run({ rounds, rawFile: values.raw, seeds, only: values.only });
  console.log(`\nbench ${name}: medians of ${rounds} interleaved rounds`);
  print(rows);
  all.push(...rows);
}
if (values.json !== undefined) writeRows(values.json, all);
