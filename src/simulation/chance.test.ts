import { expect, test } from 'vitest';
import { Chance } from './chance.js';

const DRAWS = 200_000;

function momentsOf(draw: (chance: Chance) => number): { mean: number; cv: number } {
  const chance = new Chance(3);
  const values = Array.from({ length: DRAWS }, () => draw(chance));
  const mean = values.reduce((sum, one) => sum + one, 0) / DRAWS;
  const variance = values.reduce((sum, one) => sum + (one - mean) ** 2, 0) / DRAWS;
  return { mean, cv: Math.sqrt(variance) / mean };
}

test('distributions have the mean and the spread that they are asked for', () => {
  const lognormal = momentsOf((chance) => chance.lognormal(20, 0.3));
  expect(lognormal.mean).toBeCloseTo(20, 0);
  expect(lognormal.cv).toBeCloseTo(0.3, 1);
  const exponential = momentsOf((chance) => chance.exponential(5));
  expect(exponential.mean).toBeCloseTo(5, 1);
  expect(exponential.cv).toBeCloseTo(1, 1);
  expect(momentsOf((chance) => chance.pareto(60, 2.5, 1e9)).mean).toBeCloseTo(60, 0);
});

test('same seed, same draws; another seed, others', () => {
  const draws = (seed: number) => {
    const chance = new Chance(seed);
    return Array.from({ length: 5 }, () => chance.lognormal(1, 1));
  };
  expect(draws(1)).toEqual(draws(1));
  expect(draws(1)).not.toEqual(draws(2));
});
