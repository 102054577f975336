import { describe, expect, test } from 'vitest';
import { FifoLoad, gammaP95, ownWait, SharedLoad } from './delays.js';

const STEADY = { meanMs: 10, variance: 0 };

describe('waiting times', () => {
  test('of a packet behind many others of constant work: Pollaczek and Khinchine, and M/D/1’s variance', () => {
    for (const rho of [0.3, 0.6, 0.8]) {
      const load = new FifoLoad(1);
      // A thousand streams: one's own is next to nothing.
      for (let stream = 0; stream < 1000; stream++) load.add(rho / 10, 10, 0);
      const { meanMs, variance } = load.wait(rho / 10, 10);
      expect(meanMs / ((10 * rho) / (2 * (1 - rho)))).toBeCloseTo(1, 1);
      expect(variance / (meanMs ** 2 + (rho * 100) / (3 * (1 - rho)))).toBeCloseTo(1, 1);
    }
  });

  test('small packets wait for large ones, and nobody for itself', () => {
    const load = new FifoLoad(1);
    load.add(10, 1, 0);
    load.add(10, 40, 0);
    // It comes at any time: in 0.4 of it one of 40 ms is half done.
    expect(load.wait(10, 1).meanMs).toBeCloseTo(0.4 * 20, 6);
    expect(load.wait(10, 40).meanMs).toBeLessThan(0.1);
    const alone = new FifoLoad(1);
    alone.add(10, 40, 0.2);
    expect(alone.wait(10, 40)).toEqual({ meanMs: 0, variance: 0 });
  });

  test('more servers, shorter waits; what is too much waits long, not for ever', () => {
    const waits = [1, 2, 4].map((servers) => {
      const load = new FifoLoad(servers);
      for (let stream = 0; stream < 100; stream++) load.add(servers * 0.7, 10, 0);
      return load.wait(servers * 0.7, 10).meanMs;
    });
    expect(waits[1]).toBeLessThan(waits[0]!);
    expect(waits[2]).toBeLessThan(waits[1]!);
    const full = new FifoLoad(1);
    for (let stream = 0; stream < 100; stream++) full.add(2, 10, 0);
    expect(full.wait(2, 10).meanMs).toBeGreaterThan(3 * waits[0]!);
    expect(full.wait(2, 10).meanMs).toBeLessThan(1000);
  });

  test('on shared cores: as M/M/1 on one, little on many', () => {
    const stretch = (cores: number, utilisation: number) => {
      const load = new SharedLoad(cores);
      for (let stream = 0; stream < 1000; stream++) load.add(utilisation * cores, 1);
      return load.stretch(utilisation * cores, 1);
    };
    expect(stretch(1, 0.5)).toBeCloseTo(1, 1);
    expect(stretch(1, 0)).toBe(0);
    expect(stretch(16, 0.8)).toBeLessThan(0.15);
  });

  test('few even streams wait less than many', () => {
    const wait = (streams: number) => {
      const load = new FifoLoad(1);
      for (let stream = 0; stream <= streams; stream++) load.add(70 / streams, 10, 0);
      return load.wait(70 / streams, 10).meanMs;
    };
    expect(wait(2)).toBeLessThan(wait(5));
    expect(wait(5)).toBeLessThan(0.8 * wait(1000));
  });

  test('behind one’s own stream: none when all is even, half of M/M/1 when arrivals are not', () => {
    expect(ownWait(50, STEADY, 0).meanMs).toBe(0);
    // Intervals as uneven as Poisson's: 2 x variance of the delays = interval².
    expect(ownWait(50, STEADY, 20 ** 2 / 2).meanMs).toBeCloseTo(5, 6);
    expect(ownWait(50, STEADY, 50).meanMs).toBeLessThan(5);
    expect(ownWait(50, STEADY, 50).meanMs).toBeGreaterThan(0);
  });
});

test('p95 of a gamma distribution: exponential, nearly normal, constant', () => {
  expect(gammaP95(10, 100)).toBeCloseTo(10 * Math.log(20), 0);
  expect(gammaP95(100, 1)).toBeCloseTo(100 + 1.6449, 1);
  expect(gammaP95(10, 0)).toBe(10);
});
