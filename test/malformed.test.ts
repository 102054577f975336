/** Files as people get them wrong: `orchestrator check` names file, place, value and code, and the rest still loads. */
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { ErrorCode } from '../src/contracts/errors.js';
import { cliEntry } from '../src/main/package-facts.js';

const node = { node_id: 0, node_name: 'a', node_type: 'client', node_addr: '127.0.0.1', node_port: 9000 };
const capture = { handler_id: 1, handler_name: 'capture', handler_type: 'capture', params: { source: 'a.jpg' } };
const encode = { handler_id: 2, handler_name: 'encode', handler_type: 'encode' };
const render = { handler_id: 3, handler_name: 'render', handler_type: 3 };
const service = (given: object) => ({
  service_id: 1,
  service_name: 's',
  handlers: [capture, render],
  links: [link(1, 3)],
  ...given,
});

function link(source_handler: number, target_handler: number) {
  return { source_handler, source_output: 0, target_handler, target_input: 0 };
}

interface Row {
  readonly name: string;
  readonly file: string;
  readonly content: string | object;
  readonly code: ErrorCode;
  readonly message: RegExp;
}

const ROWS: readonly Row[] = [
  {
    name: 'INI line that is none',
    file: 'coordinator.conf',
    content: '[coordinator]\nnode_path resources\n',
    code: 'CONFIG_MALFORMED',
    message: /coordinator\.conf:2/,
  },
  {
    name: 'unknown INI key',
    file: 'coordinator.conf',
    content: '[coordinator]\nnode_pth = x\n',
    code: 'CONFIG_INVALID',
    message: /node_pth/,
  },
  {
    name: 'INI value out of range',
    file: 'node.conf',
    content: '[listener]\nlistener_port = 70000\n',
    code: 'CONFIG_INVALID',
    message: /listener_port.*65535.*70000/,
  },
  {
    name: 'JSON that is none',
    file: 's.json',
    content: '{"service_id": 1,, }',
    code: 'SERVICE_FILE_INVALID',
    message: /s\.json/,
  },
  {
    name: 'YAML that is none',
    file: 's.yaml',
    content: 'service_id: 1\n  service_name: [',
    code: 'SERVICE_FILE_INVALID',
    message: /s\.yaml/,
  },
  {
    name: 'node type',
    file: 'n.json',
    content: { ...node, node_type: 'toaster' },
    code: 'NODE_FILE_INVALID',
    message: /node_type.*toaster/,
  },
  {
    name: 'node port',
    file: 'n.json',
    content: { ...node, node_port: 0 },
    code: 'NODE_FILE_INVALID',
    message: /node_port.*>= 1.*0/,
  },
  {
    name: 'unknown handler type',
    file: 's.json',
    content: service({ handlers: [{ ...capture, handler_type: 'teleport' }, render] }),
    code: 'HANDLER_TYPE_UNKNOWN',
    message: /"teleport" is unknown/,
  },
  {
    name: 'a type number that no handler has',
    file: 's.json',
    content: service({ handlers: [{ ...capture, handler_type: 99 }, render] }),
    code: 'HANDLER_TYPE_UNKNOWN',
    message: /handler_type 99 is unknown/,
  },
  {
    name: 'handler id twice',
    file: 's.json',
    content: service({ handlers: [capture, render, render] }),
    code: 'HANDLER_DUPLICATE',
    message: /handler_id 3 is used twice/,
  },
  {
    name: 'unlinked input',
    file: 's.json',
    content: service({ links: [] }),
    code: 'PORT_UNLINKED',
    message: /handler 3 render: input 0/,
  },
  {
    name: 'type-mismatched ports',
    file: 's.json',
    content: service({ handlers: [capture, { ...encode, handler_type: 'decode' }], links: [link(1, 2)] }),
    code: 'LINK_TYPE_MISMATCH',
    message: /capture emits frame, decode input 0 accepts jpeg/,
  },
  {
    name: 'unknown handler in a link',
    file: 's.json',
    content: service({ links: [link(1, 3), link(9, 3)] }),
    code: 'LINK_UNKNOWN_HANDLER',
    message: /no handler has id 9/,
  },
  {
    name: 'unknown port',
    file: 's.json',
    content: service({ links: [{ ...link(1, 3), source_output: 4 }] }),
    code: 'LINK_UNKNOWN_PORT',
    message: /no output 4/,
  },
  {
    name: 'cycle',
    file: 's.json',
    content: service({
      handlers: [
        { ...encode, handler_type: 'resize' },
        { ...render, handler_type: 'resize' },
      ],
      links: [link(2, 3), link(3, 2)],
    }),
    code: 'GRAPH_CYCLE',
    message: /handlers 2, 3 form a cycle/,
  },
  {
    name: 'parameter out of range',
    file: 's.json',
    content: service({ handlers: [{ ...capture, params: { fps: -3 } }, render] }),
    code: 'HANDLER_PARAMS_INVALID',
    message: /fps.*>= 0.*-3/,
  },
  {
    name: 'an input that two links feed',
    file: 's.json',
    content: service({ links: [link(1, 3), link(1, 3)] }),
    code: 'LINK_DUPLICATE_INPUT',
    message: /3\.0 already has a link/,
  },
  {
    name: 'a service without handlers',
    file: 's.json',
    content: { service_id: 1, service_name: 's' },
    code: 'SERVICE_FILE_INVALID',
    message: /needs either/,
  },
];

let root: string;

beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'orchestrator-malformed-'));
});

afterAll(() => {
  rmSync(root, { recursive: true, force: true });
});

interface Checked {
  readonly code: number;
  readonly stdout: string;
}

function check(path: string): Promise<Checked> {
  return new Promise((resolve) => {
    execFile(process.execPath, [cliEntry(), 'check', '--json', path], { cwd: root }, (error, stdout) => {
      resolve({ code: error === null ? 0 : Number(error.code), stdout });
    });
  });
}

test.each(ROWS)('$name', async ({ file, content, code, message }) => {
  const dir = mkdtempSync(join(root, 'case-'));
  mkdirSync(join(dir, 'good'));
  writeFileSync(join(dir, file), typeof content === 'string' ? content : JSON.stringify(content));
  writeFileSync(join(dir, 'good', 'fine.json'), JSON.stringify(service({ service_id: 2, service_name: 'fine' })));
  const { code: exit, stdout } = await check(dir);
  expect(exit).toBe(1);
  const { problems } = JSON.parse(stdout) as { problems: { code: string; detail?: string; message?: string }[] };
  expect(problems.map((problem) => problem.code)).toEqual([code]);
  expect(problems[0]!.detail ?? problems[0]!.message).toMatch(message);
  expect(problems[0]!.detail ?? problems[0]!.message).toContain(file);
});

test('nothing is wrong with what is shipped', async () => {
  const shipped = new URL('../resources', import.meta.url).pathname;
  expect((await check(shipped)).code).toBe(0);
});
