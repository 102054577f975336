import { describe, expect, test } from 'vitest';
import { Calendar } from './calendar.js';
import { Chance } from './chance.js';
import { FifoStation, SharedStation, type Station, type StationOptions } from './stations.js';

interface Job {
  readonly cameMs: number;
}

type Make = (options: StationOptions<Job>) => Station<Job>;
const fifo: Make = (options) => new FifoStation(options);
const shared: Make = (options) => new SharedStation(options);

/** Mean time in the station of 200 000 jobs that come by Poisson at the given utilisation; mean work is 10 ms. */
function meanTime(make: Make, servers: number, utilisation: number, workOf: (chance: Chance) => number): number {
  const calendar = new Calendar();
  const chance = new Chance(7);
  let count = 0;
  let sumMs = 0;
  const done = ({ cameMs }: Job) => {
    count += 1;
    sumMs += calendar.nowMs - cameMs;
  };
  const station = make({ calendar, servers, done });
  const arrive = (left: number) => {
    station.submit({ cameMs: calendar.nowMs }, workOf(chance));
    if (left > 0) calendar.after(chance.exponential(10 / (servers * utilisation)), () => arrive(left - 1));
  };
  arrive(200_000);
  calendar.runUntil(Number.MAX_VALUE);
  return sumMs / count;
}

const constant = () => 10;
const exponential = (chance: Chance) => chance.exponential(10);

/** Waiting probability of M/M/c. */
function erlangC(servers: number, utilisation: number): number {
  const load = servers * utilisation;
  let sum = 0;
  let term = 1;
  for (let n = 0; n < servers; n++) {
    sum += term;
    term *= load / (n + 1);
  }
  const last = term / (1 - utilisation);
  return last / (sum + last);
}

const within = (measured: number, wanted: number, share: number) => {
  expect(Math.abs(measured / wanted - 1)).toBeLessThan(share);
};

describe('against theory', () => {
  test('M/D/1: Pollaczek and Khinchine', () => {
    for (const rho of [0.3, 0.6, 0.8])
      within(meanTime(fifo, 1, rho, constant), 10 + (10 * rho) / (2 * (1 - rho)), 0.03);
  });

  test('M/M/1 in order of coming and shared have the same mean', () => {
    for (const make of [fifo, shared]) within(meanTime(make, 1, 0.7, exponential), 10 / (1 - 0.7), 0.04);
  });

  test('a shared server does not care how work is distributed: M/D/1 shared is M/M/1', () => {
    within(meanTime(shared, 1, 0.7, constant), 10 / (1 - 0.7), 0.04);
  });

  test('M/M/4: Erlang C', () => {
    const rho = 0.8;
    const wanted = 10 + (erlangC(4, rho) * 10) / (4 * (1 - rho));
    for (const make of [fifo, shared]) within(meanTime(make, 4, rho, exponential), wanted, 0.04);
  });
});

test('a shared station gives each job at most one server, and all of them together no more than there are', () => {
  const calendar = new Calendar();
  const doneMs: number[] = [];
  const station = new SharedStation<number>({ calendar, servers: 2, done: () => doneMs.push(calendar.nowMs) });
  station.submit(1, 30);
  calendar.at(10, () => station.submit(2, 10));
  calendar.at(10, () => station.submit(3, 10));
  calendar.runUntil(1000);
  // From 10 ms on three jobs at two thirds of a server each, then one alone.
  expect(doneMs.map((ms) => Math.round(ms * 1000) / 1000)).toEqual([25, 25, 35]);
});

test('what is cleared out is not done', () => {
  for (const make of [fifo, shared]) {
    const calendar = new Calendar();
    const done: Job[] = [];
    const station = make({ calendar, servers: 1, done: (job) => done.push(job) });
    for (let n = 0; n < 3; n++) station.submit({ cameMs: n }, 10);
    calendar.runUntil(5);
    expect(station.clear().map(({ cameMs }) => cameMs)).toEqual([0, 1, 2]);
    calendar.runUntil(100);
    expect(done).toEqual([]);
    station.submit({ cameMs: 9 }, 10);
    calendar.runUntil(200);
    expect(done).toEqual([{ cameMs: 9 }]);
  }
});
