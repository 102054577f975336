/** The units in deploy/ start commands that exist, and systemd accepts them where it is there to ask. */
import { execFileSync, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { cliEntry } from '../src/main/package-facts.js';

const UNITS = fileURLToPath(new URL('../deploy/systemd', import.meta.url));
const files = readdirSync(UNITS).map((name) => join(UNITS, name));

test.each(files)('%s', (file) => {
  const command = /^ExecStart=\/usr\/bin\/env orchestrator (\w+) \/etc\/orchestrator\/\w+\.conf$/m.exec(
    readFileSync(file, 'utf8'),
  )?.[1];
  expect(execFileSync(process.execPath, [cliEntry(), command!, '--help'], { encoding: 'utf8' })).toContain(
    '--insecure',
  );
  const verified = spawnSync('systemd-analyze', ['verify', file], { encoding: 'utf8' });
  if (verified.error === undefined) expect(verified.stderr + verified.stdout).not.toContain(file);
});
