import { defineConfig } from 'vitest/config';

// Unit tests sit beside the code; test/ holds what spans folders and runs the built program in dist/.
export default defineConfig({
  test: {
    include: ['src/**/*.test.ts', 'test/**/*.test.ts'],
    globalSetup: ['test/temporary-directory.ts'],
    // For tests that hang: a shared machine may stand still for half a minute and go on.
    testTimeout: 120_000,
    hookTimeout: 120_000,
    pool: 'forks',
    maxWorkers: 2,
    // One file each already: nothing to transform.
    server: { deps: { external: [/\/dist\/bundled\//] } },
  },
});
