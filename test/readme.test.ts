/** The commands of README.md, typed as they stand there by a real shell, in a directory with pictures. */
import { spawn } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { SAMPLES } from './support/system.js';

const CLI = fileURLToPath(new URL('../dist/cli/orchestrator.js', import.meta.url));
const README = readFileSync(new URL('../README.md', import.meta.url), 'utf8');

/** Blocks of shell commands; the first one installs and runs the demo, which cli/local-cluster.test.ts does. */
const BLOCKS = [...README.matchAll(/```sh\n([\s\S]*?)```/g)].map((match) => match[1]!).slice(1);

/** `npx orchestrator` is this checkout's; job control (-m) as at a prompt, so that `kill %1` reaches `up` itself. */
const PREAMBLE = `
set -e -o pipefail -m
npx() { shift; node "$CLI" "$@"; }
trap 'kill %1 2>/dev/null; wait' EXIT
`;
/** Whoever types needs longer than `up` to answer. */
const WAIT = 'for i in $(seq 200); do npx orchestrator node list >/dev/null 2>&1 && break; sleep 0.2; done';

let dir: string;

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'orchestrator-readme-'));
  mkdirSync(join(dir, 'pictures'));
  mkdirSync(join(dir, 'people', 'Ada'), { recursive: true });
  SAMPLES.slice(0, 2).forEach((path, index) => {
    copyFileSync(path, join(dir, 'pictures', `${index}.jpg`));
  });
  copyFileSync(SAMPLES[0]!, join(dir, 'people', 'Ada', '1.jpg'));
  copyFileSync(SAMPLES[0]!, join(dir, 'face.jpg'));
});

afterAll(() => {
  rmSync(dir, { recursive: true, force: true });
});

function script(): string {
  const lines = BLOCKS.flatMap((block) => block.trim().split('\n')).map((line) => {
    if (/\bup\b.*&/.test(line)) return `${line}\n${WAIT}`;
    if (line.includes('detect_posted')) return `${line} | tee posted.txt`;
    if (!line.includes('PORT')) return line;
    const port = '$(sed -n "s#.*post pictures to.*127.0.0.1:\\([0-9]*\\)/.*#\\1#p" posted.txt)';
    const typed = line.replace('PORT', port);
    return line.includes('boxes.json')
      ? `for i in $(seq 100); do ${typed} | tee got.txt | grep -q boxes && break; sleep 0.1; done; cat got.txt`
      : typed;
  });
  return `${PREAMBLE}\n${lines.join('\n')}\n`;
}

test('every command of README.md works', async () => {
  const shell = spawn('bash', ['-c', script()], {
    cwd: dir,
    env: { ...process.env, CLI },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [shell.stdout, shell.stderr]) {
    stream.setEncoding('utf8');
    stream.on('data', (text: string) => {
      output += text;
    });
  }
  const code = await new Promise((resolve) => shell.once('close', resolve));
  expect(code, output).toBe(0);
  for (const seen of [
    '"label":"Ada"',
    'session 1: running',
    'client-1|client',
    'candidates',
    'sent \\d+ = delivered \\d+',
    'recv',
    '"sequence":0',
    '"boxes":',
  ]) {
    expect(output).toMatch(new RegExp(seen));
  }
}, 180_000);
