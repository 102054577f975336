import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** Tests of whole systems take longest: begun last, one of them would run alone at the end. */
class SystemsFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    const isSystem = ({ moduleId }: TestSpecification) => !moduleId.includes('/src/');
    return [...sorted.filter(isSystem), ...sorted.filter((file) => !isSystem(file))];
  }
}

// Unit tests sit beside the code; test/ holds what spans folders and runs the built program in dist/.
export default defineConfig({
  test: {
    include: ['src/**/*.test.ts', 'test/**/*.test.ts'],
    globalSetup: ['test/temporary-directory.ts'],
    // For tests that hang: a shared machine may stand still for half a minute and go on.
    testTimeout: 120_000,
    hookTimeout: 120_000,
    // Bound of an `expect.poll`, for the same reason.
    expect: { poll: { timeout: 20_000 } },
    pool: 'forks',
    maxWorkers: 2,
    sequence: { sequencer: SystemsFirst },
    // One file each already: nothing to transform.
    server: { deps: { external: [/\/dist\/bundled\//] } },
  },
});
