import { defineConfig } from 'vitest/config';

// Unit tests sit beside the code; test/ holds what spans folders and runs the built program in dist/.
export default defineConfig({
  test: {
    include: ['src/**/*.test.ts', 'test/**/*.test.ts'],
    testTimeout: 30_000,
    hookTimeout: 60_000,
    pool: 'forks',
    maxWorkers: 2,
  },
});
