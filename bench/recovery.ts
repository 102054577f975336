/**
 * How long a session is without frames when something dies: a node by SIGKILL (agent and hosts at once), a node whose cable
 * is pulled, the coordinator for 30 s, the leader of three coordinators; and when a handler is moved to another node while
 * frames flow. A camera at 30 fps, `latest` unless the case says otherwise; the workers are on machines of their own
 * (network namespaces). Each row is a distribution over the rounds; `n` says over how many.
 *
 * Bounded: a round that does not come to its end within its time is told and left out, and no round begins after
 * BUDGET_MS. Raw rows (one per round and figure) are written as they come.
 */
import { appendFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { quantile } from '#src/std/quantile.js';
import { hasMariadb } from '../src/store/mysql/mariadb.testing.js';
import { hasNamespaces } from '../test/support/namespaces.js';
import { type BenchRow, printed, printLines } from './harness.js';
import { type Arrivals, longestGap } from './recovery/arrivals.js';
import { RecoverySystem, type SessionDelivery } from './recovery/system.js';
import type { BenchContext } from './run.js';

const BENCH = 'recovery';
/** Twenty rounds of all cases take twelve to thirteen minutes; no round begins later than this, ms. */
const BUDGET_MS = 14 * 60_000;
/**
 * After a round until the next: spare hosts are started 3 s after the last host and load for 1.5 s on these cores, and the
 * next fault comes at a random moment between heartbeats.
 */
const SPARES_MS = 5_000;
const PHASE_MS = 500;
/** Where no host is started: until the coordinator that was killed follows again. */
const CALM_MS = 1_000;
const COORDINATOR_DOWN_MS = 30_000;
/** Rounds of the coordinator's absence for each round of the others: half a minute each. */
const DOWN_SHARE = 0.1;
const PARTS = ['p50', 'p95', 'max', 'n'] as const;

type Figures = Record<string, { readonly value: number; readonly unit: string }>;

interface Case {
  readonly name: string;
  readonly rounds: number;
  readonly delivery?: SessionDelivery;
  readonly calmMs: number;
  measure(system: RecoverySystem): Promise<Figures>;
}

function casesOf(rounds: number): Case[] {
  const downRounds = Math.max(1, Math.round(rounds * DOWN_SHARE));
  return [
    { name: 'handler moved, latest', rounds, calmMs: SPARES_MS, measure: handlerMoves },
    { name: 'node killed', rounds, calmMs: SPARES_MS, measure: (system) => nodeDies(system, 'kill') },
    { name: 'node unplugged', rounds, calmMs: SPARES_MS, measure: (system) => nodeDies(system, 'unplug') },
    { name: 'leader killed', rounds, calmMs: CALM_MS, measure: (system) => leaderDies(system, 'kill') },
    { name: 'leader stopped', rounds, calmMs: CALM_MS, measure: (system) => leaderDies(system, 'stop') },
    { name: 'coordinators down 30 s', rounds: downRounds, calmMs: CALM_MS, measure: coordinatorsAway },
    { name: 'handler moved, all', rounds, delivery: 'all', calmMs: SPARES_MS, measure: handlerMoves },
  ];
}

export async function run({ rounds, only, rawFile }: BenchContext): Promise<BenchRow[]> {
  if (!hasMariadb() || !hasNamespaces()) {
    console.log('recovery: skipped, it needs mariadbd, and root with ip for network namespaces');
    return [];
  }
  const cases = casesOf(rounds).filter(({ name }) => only === undefined || only === name);
  if (cases.length === 0) console.log(`recovery: no case is named ${only}`);
  sayWhere(rounds);
  const deadlineMs = performance.now() + BUDGET_MS;
  const values = new Map<string, { unit: string; values: number[] }>();
  const system = await RecoverySystem.start();
  try {
    for (const one of cases) {
      await system.use(one.delivery ?? 'latest');
      for (let round = 0; round < one.rounds && performance.now() < deadlineMs; round++) {
        const figures = await oneRound(system, one, round);
        for (const [figure, { value, unit }] of Object.entries(figures)) {
          const key = `${one.name}\u0000${figure}`;
          const entry = values.get(key) ?? { unit, values: [] };
          values.set(key, entry);
          entry.values.push(value);
          const raw = { bench: BENCH, case: one.name, figure, unit, round, value: Math.round(value * 10) / 10 };
          if (rawFile !== undefined) appendFileSync(rawFile, `${JSON.stringify(raw)}\n`);
        }
      }
    }
    if (performance.now() >= deadlineMs) console.log(`recovery: stopped after ${BUDGET_MS / 60_000} min`);
  } finally {
    await system.close();
  }
  return [...values].flatMap(([key, { unit, values: list }]) => {
    const [name, figure] = key.split('\u0000') as [string, string];
    return PARTS.map((part) => ({
      ...{ bench: BENCH, case: name, figure: `${figure}, ${part}`, unit: part === 'n' ? 'rounds' : unit },
      value: part === 'n' ? list.length : quantile(list, { p50: 0.5, p95: 0.95, max: 1 }[part]),
    }));
  });
}

/** No figures when the round did not come to its end: the others still count. */
async function oneRound(system: RecoverySystem, { name, calmMs, measure }: Case, round: number): Promise<Figures> {
  try {
    await system.settled();
    await sleep(calmMs + PHASE_MS * Math.random());
    return await measure(system);
  } catch (error) {
    console.log(`${name}, round ${round}: no figures: ${(error as Error).message}`);
    return {};
  }
}

/** What the figures depend on. */
function sayWhere(rounds: number): void {
  const [load = 0] = loadavg();
  const cores = `${availableParallelism()} cores of ${cpus()[0]?.model ?? 'an unknown processor'}`;
  console.log(
    `recovery: ${rounds} rounds, ${new Date().toISOString()}, ${cores}, Node ${process.version}, load ${load.toFixed(1)} before`,
  );
}

export function print(rows: readonly BenchRow[]): void {
  const lines = new Map<string, string[]>();
  for (const row of rows) {
    const figure = row.figure.replace(/, \w+$/, '');
    const key = `${row.case}\u0000${figure}`;
    const unit = row.unit === 'rounds' ? '' : ` (${row.unit})`;
    const line = lines.get(key) ?? [row.case, `${figure}${unit}`];
    lines.set(key, [...line, row.unit === 'rounds' ? String(row.value) : printed(row.value)]);
  }
  printLines(['case', 'figure', ...PARTS], [...lines.values()], 2);
}

const ms = (value: number) => ({ value, unit: 'ms' });
const frames = (value: number) => ({ value, unit: 'frames' });

/**
 * The old placement's last frames are at the sink within milliseconds; then comes a gap, and what follows it is from the
 * new one. So the first frame after the longest gap is the first of the new placement.
 */
async function nodeDies(system: RecoverySystem, how: 'kill' | 'unplug'): Promise<Figures> {
  const victim = await system.victim();
  const arrivals = system.arrivals();
  const diedMs = performance.now();
  if (how === 'kill') victim.kill();
  else victim.unplug();
  try {
    await system.flows(arrivals);
    // Asked for afterwards: a coordinator that is asked again and again meanwhile plans later.
    const plannedMs = await system.event('session.replaced', diedMs);
    return {
      'to the new plan': ms(plannedMs - diedMs),
      'to first frame': ms(longestGap(arrivals).endMs - diedMs),
      'frames lost': frames(arrivals.lost),
    };
  } finally {
    arrivals.stop();
    await victim.heal();
  }
}

/** The pause is the longest time between two frames at the sink, from the order to the first frames after the move. */
async function handlerMoves(system: RecoverySystem): Promise<Figures> {
  const arrivals = system.arrivals();
  try {
    const orderedMs = performance.now();
    await system.move();
    const endedMs = performance.now();
    await system.flows(arrivals);
    sayDrops('handler moved', arrivals);
    const gap = longestGap(arrivals);
    return {
      'to the end of the move': ms(endedMs - orderedMs),
      'longest gap': ms(gap.ms),
      'to the longest gap': ms(gap.endMs - gap.ms - orderedMs),
      'frames lost': frames(arrivals.lost),
      'frames repeated': frames(arrivals.repeated),
    };
  } finally {
    arrivals.stop();
  }
}

/** What a table of distributions cannot tell: which handler dropped, why and when. */
function sayDrops(name: string, { drops }: Arrivals): void {
  if (drops.length === 0) return;
  const words = drops.map(({ cause, afterMs }) => `${cause} after ${afterMs.toFixed(0)} ms`);
  console.log(`${name}: ${words.join('; ')}`);
}

/** Until the next one answers as the leader; the session must not notice, nor when a stopped one goes on. */
async function leaderDies(system: RecoverySystem, how: 'kill' | 'stop'): Promise<Figures> {
  const arrivals = system.arrivals();
  const leader = await system.leader();
  const diedMs = performance.now();
  if (how === 'kill') leader.daemon.kill();
  else process.kill(leader.daemon.pid, 'SIGSTOP');
  const revive = async () => {
    if (how === 'kill') await leader.daemon.restart();
    else process.kill(leader.daemon.pid, 'SIGCONT');
  };
  try {
    const next = await system.leader(leader).finally(revive);
    await system.flows(arrivals);
    sayDrops(`leader ${how === 'kill' ? 'killed' : 'stopped'}`, arrivals);
    return { 'to the next leader': ms(next.seenMs - diedMs), 'frames lost': frames(arrivals.lost) };
  } finally {
    arrivals.stop();
  }
}

async function coordinatorsAway(system: RecoverySystem): Promise<Figures> {
  const arrivals = system.arrivals();
  const { coordinators } = system.cluster.controllers;
  try {
    for (const { daemon } of coordinators) daemon.kill();
    await sleep(COORDINATOR_DOWN_MS);
    await Promise.all(coordinators.map(({ daemon }) => daemon.restart()));
    await system.leader();
    await system.flows(arrivals);
    sayDrops('coordinators down', arrivals);
    return { 'frames lost': frames(arrivals.lost), 'frames seen': frames(arrivals.frames.length) };
  } finally {
    arrivals.stop();
  }
}
