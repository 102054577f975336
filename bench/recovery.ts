/**
 * How long a session is without frames when something dies: a node by SIGKILL (agent and hosts at once), a node whose cable
 * is pulled, the coordinator for 30 s, the leader of three coordinators; and when a handler is moved to another node while
 * frames flow. A camera at 30 fps, `latest` unless the case says otherwise; the workers are on machines of their own
 * (network namespaces). Each row is a distribution over the rounds.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { quantile } from '#src/std/quantile.js';
import { hasMariadb } from '../src/store/mysql/mariadb.testing.js';
import { hasNamespaces } from '../test/support/namespaces.js';
import { type BenchRow, printed, printLines } from './harness.js';
import { type Arrivals, RecoverySystem, type SessionDelivery } from './recovery/system.js';
import type { BenchContext } from './run.js';

const BENCH = 'recovery';
/** Between two rounds, ms: the node that came back must be there again, spare hosts started, and queues empty. */
const CALM_MS = 6_000;
const COORDINATOR_DOWN_MS = 30_000;
/** Rounds of the coordinator's absence for each round of the others: half a minute each. */
const DOWN_SHARE = 0.1;

type Values = Map<string, { unit: string; values: number[] }>;

export async function run({ rounds, only }: BenchContext): Promise<BenchRow[]> {
  if (!hasMariadb() || !hasNamespaces()) {
    console.log('recovery: skipped, it needs mariadbd, and root with ip for network namespaces');
    return [];
  }
  const values: Values = new Map();
  const system = await RecoverySystem.start();
  try {
    await sleep(CALM_MS);
    const cases: [string, number, (name: string) => Promise<void>, SessionDelivery?][] = [
      ['handler moved, latest', rounds, (name) => handlerMoves(system, values, name)],
      ['node killed', rounds, (name) => nodeDies(system, values, name)],
      ['node unplugged', rounds, (name) => nodeDies(system, values, name)],
      ['leader killed', rounds, (name) => leaderDies(system, values, name)],
      ['coordinators down 30 s', Math.ceil(rounds * DOWN_SHARE), (name) => coordinatorsAway(system, values, name)],
      ['handler moved, all', rounds, (name) => handlerMoves(system, values, name), 'all'],
    ];
    for (const [name, count, measure, delivery = 'latest'] of cases) {
      if (only !== undefined && only !== name) continue;
      await system.use(delivery);
      for (let round = 0; round < count; round++) {
        await system.settled();
        await sleep(CALM_MS * (0.5 + Math.random() / 2));
        await measure(name);
      }
    }
  } finally {
    await system.close();
  }
  return [...values].flatMap(([key, { unit, values: list }]) => {
    const [name, figure] = key.split('\u0000') as [string, string];
    return (['p50', 'p95', 'max'] as const).map((part) => ({
      ...{ bench: BENCH, case: name, figure: `${figure}, ${part}`, unit },
      value: quantile(list, { p50: 0.5, p95: 0.95, max: 1 }[part]),
    }));
  });
}

export function print(rows: readonly BenchRow[]): void {
  const lines = new Map<string, string[]>();
  for (const row of rows) {
    const figure = row.figure.replace(/, \w+$/, '');
    const key = `${row.case}\u0000${figure} (${row.unit})`;
    lines.set(key, [...(lines.get(key) ?? key.split('\u0000')), printed(row.value)]);
  }
  printLines(['case', 'figure', 'p50', 'p95', 'max'], [...lines.values()], 2);
}

function add(values: Values, name: string, figure: string, unit: string, value: number): void {
  const key = `${name}\u0000${figure}`;
  const entry = values.get(key) ?? { unit, values: [] };
  entry.values.push(value);
  values.set(key, entry);
}

/**
 * The old placement's last frames are at the sink within milliseconds; then comes a gap, and what follows it is from the
 * new one. So the first frame after the longest gap is the first of the new placement.
 */
async function nodeDies(system: RecoverySystem, values: Values, name: string): Promise<void> {
  const victim = await system.victim();
  const arrivals = system.arrivals();
  const diedMs = performance.now();
  if (name === 'node killed') victim.kill();
  else victim.unplug();
  const told = await system.event('session.replaced', diedMs);
  await system.flows(arrivals);
  const gap = longestGap(arrivals);
  add(values, name, 'to first frame', 'ms', gap.endMs - diedMs);
  add(values, name, 'to the new plan', 'ms', told - diedMs);
  add(values, name, 'frames lost', 'frames', arrivals.lost);
  await victim.heal();
}

/** The pause is the longest time between two frames at the sink, from the order to the first frames after the move. */
async function handlerMoves(system: RecoverySystem, values: Values, name: string): Promise<void> {
  const arrivals = system.arrivals();
  const orderedMs = performance.now();
  await system.move();
  add(values, name, 'to the end of the move', 'ms', performance.now() - orderedMs);
  await system.flows(arrivals);
  add(values, name, 'longest gap', 'ms', longestGap(arrivals).ms);
  add(values, name, 'frames lost', 'frames', arrivals.lost);
  add(values, name, 'frames repeated', 'frames', arrivals.repeated);
  sayDrops(name, arrivals);
}

/** What a table of distributions cannot tell: which handler dropped, why and when. */
function sayDrops(name: string, { drops }: Arrivals): void {
  if (drops.length === 0) return;
  const words = drops.map(({ cause, afterMs }) => `${cause} after ${afterMs.toFixed(0)} ms`);
  console.log(`${name}: ${words.join('; ')}`);
}

function longestGap({ frames }: Arrivals): { endMs: number; ms: number } {
  let longest = { endMs: 0, ms: 0 };
  frames.forEach(({ atMs }, index) => {
    const before = frames[index - 1]?.atMs ?? atMs;
    if (atMs - before > longest.ms) longest = { endMs: atMs, ms: atMs - before };
  });
  return longest;
}

/** Until the next one answers as the leader; the session must not notice. */
async function leaderDies(system: RecoverySystem, values: Values, name: string): Promise<void> {
  const arrivals = system.arrivals();
  const leader = await system.leader();
  const diedMs = performance.now();
  leader.daemon.kill();
  const next = await system.leader(leader.epoch);
  add(values, name, 'to the next leader', 'ms', next.seenMs - diedMs);
  await system.flows(arrivals);
  add(values, name, 'frames lost', 'frames', arrivals.lost);
  sayDrops(name, arrivals);
  await leader.daemon.restart();
}

async function coordinatorsAway(system: RecoverySystem, values: Values, name: string): Promise<void> {
  const arrivals = system.arrivals();
  const { coordinators } = system.cluster.controllers;
  for (const { daemon } of coordinators) daemon.kill();
  await sleep(COORDINATOR_DOWN_MS);
  await Promise.all(coordinators.map(({ daemon }) => daemon.restart()));
  await system.leader();
  await system.flows(arrivals);
  add(values, name, 'frames lost', 'frames', arrivals.lost);
  add(values, name, 'frames seen', 'frames', arrivals.frames.length);
  sayDrops(name, arrivals);
}
