import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { DEFAULT_LOOP_RULES } from '../allocation/fleet/loop-rules.js';
import { loadCoordinatorConfig } from '../config/processes.js';

test('a configuration file that says nothing of them leaves the rules of the planning loop as they are', () => {
  const directory = mkdtempSync(join(tmpdir(), 'coordinator-'));
  const file = join(directory, 'coordinator.conf');
  writeFileSync(file, '[coordinator]\n');
  expect(DEFAULT_LOOP_RULES).toMatchObject(loadCoordinatorConfig(file).loopRules);
  rmSync(directory, { recursive: true });
});
