/**
 * A coordinator of the reference, written from its description alone, drives two of our nodes through both sample services:
 * it plays the template as it stands, with the addresses of the nodes in the tx and rx, and knows no word of ours.
 */
import { copyFileSync, linkSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { iniText } from '../src/config/ini.js';
import type { ObservedSession } from '../src/contracts/node.js';
import { ChildDaemon, freePorts } from '../src/main/child-daemon.js';
import { eventually, SAMPLES } from './support/system.js';

interface TemplateNode {
  readonly node_id: number;
  readonly blueprint: object;
}

/** Its control: one POST of JSON after the other, 200 and `result`. */
class ReferenceCoordinator {
  readonly #urls: readonly string[];

  constructor(urls: readonly string[]) {
    this.#urls = urls;
  }

  async play(session_id: number, template: readonly TemplateNode[]): Promise<void> {
    for (const { node_id, blueprint } of template) await this.ask(node_id, { action: 'init', session_id, blueprint });
    for (const { node_id } of template) await this.ask(node_id, { action: 'start', session_id });
  }

  async end(session_id: number, template: readonly TemplateNode[]): Promise<void> {
    for (const action of ['stop', 'delete']) {
      for (const { node_id } of template) await this.ask(node_id, { action, session_id });
    }
  }

  async ask(node_id: number, body: object): Promise<void> {
    const answer = await this.send(node_id, body);
    if (answer.result !== 'Succeeded') throw new Error(answer.reason);
  }

  async send(node_id: number, body: object): Promise<{ result: string; reason?: string }> {
    const answer = await fetch(`${this.#urls[node_id]}/`, { method: 'POST', body: JSON.stringify(body) });
    return (await answer.json()) as { result: string; reason?: string };
  }
}

let dir: string;
let urls: string[];
let daemons: ChildDaemon[] = [];
let ports: number[];
let coordinator: ReferenceCoordinator;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'reference-control-'));
  mkdirSync(join(dir, 'pictures'));
  copyFileSync(SAMPLES[0]!, join(dir, 'face.jpg'));
  for (let index = 100; index < 999; index++) linkSync(join(dir, 'face.jpg'), join(dir, 'pictures', `${index}.jpg`));
  ports = await freePorts(4);
  urls = ports.slice(0, 2).map((port) => `http://127.0.0.1:${port}`);
  // Relative paths of its files are relative to the working directory, as in the reference.
  const home = process.cwd();
  process.chdir(dir);
  daemons = ['client', 'server'].map((name, node_id) => {
    const sections = {
      graphical: { enabled: true },
      listener: { enabled: true, listener_addr: '0.0.0.0', listener_port: ports[node_id]! },
      reporter: { enabled: false, collector_addr: '127.0.0.1', collector_port: 9001 },
    };
    const conf = join(dir, `${name}.conf`);
    writeFileSync(conf, iniText(sections));
    return new ChildDaemon({
      ...{ name, args: ['node', conf, '--insecure'], logFile: join(dir, `${name}.log`), tmpDir: dir },
      probe: async () => {
        if (!(await fetch(`${urls[node_id]}/v1/health`)).ok) throw new Error('not yet');
      },
    });
  });
  process.chdir(home);
  await Promise.all(daemons.map((one) => one.answers()));
  coordinator = new ReferenceCoordinator(urls);
});
afterAll(async () => {
  await Promise.all(daemons.map((one) => one.stop()));
  rmSync(dir, { recursive: true, force: true });
});

const handler = (handler_id: number, handler_name: string, handler_type: number, params: object = {}) => ({
  ...{ handler_id, handler_name, handler_type, params },
});
const link = (source_handler: number, target_handler: number, target_input = 0) => ({
  ...{ source_handler, source_output: 0, target_handler, target_input },
});
/** An image sequence where the samples have camera 0. */
const capture = () => handler(0, 'capture', 2, { source: 'pictures', width: 640, height: 480, fps: 20 });

const localRender = (): TemplateNode[] => [
  { node_id: 0, blueprint: { handlers: [capture(), handler(1, 'render', 3)], links: [link(0, 1)] } },
];

function offloadDetect([pictures, boxes]: readonly number[]): TemplateNode[] {
  const tx = (port: number | undefined) => ({ addr: '127.0.0.1', port, protocol: 'tcp' });
  const rx = (port: number | undefined) => ({ addr: '0.0.0.0', port, protocol: 'tcp' });
  const client = {
    handlers: [
      ...[capture(), handler(1, 'encode', 5, { quality: 80 }), handler(2, 'tx', 0, tx(pictures))],
      ...[handler(3, 'rx', 1, rx(boxes)), handler(4, 'draw_boxes', 16), handler(5, 'render', 3, { fps: 0 })],
    ],
    links: [link(0, 1), link(1, 2), link(0, 4), link(3, 4, 1), link(4, 5)],
  };
  const server = {
    handlers: [
      ...[handler(0, 'rx', 1, rx(pictures)), handler(1, 'decode', 6)],
      ...[handler(2, 'detect_object', 7, { targets: ['person'] }), handler(3, 'tx', 0, tx(boxes))],
    ],
    links: [link(0, 1), link(1, 2), link(2, 3)],
  };
  return [
    { node_id: 0, blueprint: client },
    { node_id: 1, blueprint: server },
  ];
}

const rendered = async (session_id: number, renderer: number) => {
  const sessions = (await (await fetch(`${urls[0]}/v1/sessions`)).json()) as ObservedSession[];
  const session = sessions.find((one) => one.session_id === session_id);
  return session?.handlers.find(({ handler_id }) => handler_id === renderer)?.stats?.processed ?? 0;
};

test('local_render', async () => {
  await coordinator.play(1, localRender());
  await eventually('frames in the window', async () => (await rendered(1, 1)) > 2 || undefined);
  await coordinator.end(1, localRender());
});

test('offload_detect: tx and rx of two nodes become links, and the ports are free afterwards', async () => {
  const template = offloadDetect(ports.slice(2));
  for (const session_id of [2, 3]) {
    await coordinator.play(session_id, template);
    await eventually('frames with boxes in the window', async () => (await rendered(session_id, 5)) > 2 || undefined);
    if (session_id === 2) {
      expect(await coordinator.send(1, { action: 'init', session_id: 9, blueprint: template[1]!.blueprint })).toEqual({
        ...{ result: 'Failed', code: 'ADDRESS_IN_USE' },
        reason: expect.stringContaining(`rx cannot listen on port ${ports[2]}`),
      });
    }
    await coordinator.end(session_id, template);
  }
});

test('a tx or rx that cannot be a link fails init with the reason and leaves nothing', async () => {
  const init = async (handlers: object[], links: object[]) =>
    (await coordinator.send(0, { action: 'init', session_id: 4, blueprint: { handlers, links } })).reason;
  const shown = (id: number) => handler(id, 'render', 3);
  const rx = (params: object) => handler(0, 'rx', 1, params);
  const tx = (params: object) => handler(1, 'tx', 0, params);
  expect(await init([capture(), tx({ port: 1 })], [link(0, 1)])).toMatch(/handler 1 tx needs the addr of the node/);
  expect(await init([capture(), tx({ addr: 'x' })], [link(0, 1)])).toMatch(/handler 1 tx needs a port/);
  expect(await init([capture(), shown(2), tx({ addr: 'x', port: 1 })], [link(0, 2)])).toMatch(/tx has no link/);
  expect(await init([rx({ port: 1 }), shown(1), shown(2)], [link(0, 1), link(0, 2)])).toMatch(/rx feeds 2 inputs/);
  expect(await init([rx({ port: 1 }), shown(1)], [link(0, 7)])).toMatch(/no handler has id 7/);
  expect(await (await fetch(`${urls[0]}/v1/sessions`)).json()).toEqual([]);
});
