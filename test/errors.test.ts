/** The error catalogue and docs/errors.md say the same, both ways; every code is used, and used codes exist. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { ERROR_CATALOGUE, OrchestratorError, toOrchestratorError } from '../src/contracts/errors.js';

const SRC = fileURLToPath(new URL('../src', import.meta.url));

function page(): string {
  const rows = Object.entries(ERROR_CATALOGUE).map(
    ([code, { status, help }]) => `| \`${code}\` | ${status} | ${help} |`,
  );
  return `# Errors

Every API answers an error as [RFC 9457](https://www.rfc-editor.org/rfc/rfc9457) \`application/problem+json\` with the
status below, a \`code\` for programs, a \`detail\` for people that names the value and the bound, and a \`context\` that says
where. The reference-compatible \`POST /\` of node and collector answers \`{"result": "Failed", "reason": ..., "code": ...}\`
with the same status. The command line prints \`error CODE: detail\` and exits with 1 (2 for wrong usage).

This page is written from the catalogue in \`src/contracts/errors.ts\`: after changing it, run \`npm run docs\`.

| code | status | meaning |
| --- | --- | --- |
${rows.join('\n')}
`;
}

function sources(directory: string): string[] {
  return readdirSync(directory, { withFileTypes: true }).flatMap((entry) => {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) return sources(path);
    return entry.name.endsWith('.ts') && !/\.(test|testing)\.ts$/.test(entry.name) ? [path] : [];
  });
}

test('docs/errors.md is the catalogue', async () => {
  await expect(page()).toMatchFileSnapshot('../docs/errors.md');
});

test('every code of the catalogue is raised somewhere', () => {
  const text = sources(SRC)
    .filter((path) => !path.endsWith(join('contracts', 'errors.ts')))
    .map((path) => readFileSync(path, 'utf8'))
    .join('\n');
  const unused = Object.keys(ERROR_CATALOGUE).filter((code) => code !== 'INTERNAL' && !text.includes(`'${code}'`));
  expect(unused).toEqual([]);
});

test('a problem survives the way over HTTP', () => {
  const error = new OrchestratorError('NODE_NOT_FOUND', 'no node has id 7', { node_id: 7 });
  const back = OrchestratorError.fromProblem(JSON.parse(JSON.stringify(error.toProblem())), 'INTERNAL', 'lost');
  expect([back.code, back.message, back.context, back.status]).toEqual([
    'NODE_NOT_FOUND',
    'no node has id 7',
    { node_id: 7 },
    404,
  ]);
});

test('foreign bodies and foreign throws get a code of ours', () => {
  expect(OrchestratorError.fromProblem('<html>', 'SERVICE_UNREACHABLE', 'no answer').code).toBe('SERVICE_UNREACHABLE');
  expect(OrchestratorError.fromProblem({ code: 'NOPE', detail: 'x' }, 'INTERNAL', 'x').code).toBe('INTERNAL');
  expect(toOrchestratorError(new TypeError('x is not a function')).code).toBe('INTERNAL');
  expect(toOrchestratorError('plain').message).toBe('plain');
});
