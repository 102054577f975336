/**
 * Our coordinator and nodes that speak the reference's control protocol only: behind each address is a door that lets
 * `POST /` through and nothing else. What is behind it is real, so frames flow from the camera's node to the other and back.
 */
import { copyFileSync, linkSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type CoordinatorClient, createCoordinatorClient } from '../src/client/index.js';
import { iniText } from '../src/config/ini.js';
import type { ObservedSession } from '../src/contracts/node.js';
import { ChildDaemon, freePorts } from '../src/main/child-daemon.js';
import { eventually, SAMPLES } from './support/system.js';

let dir: string;
let daemons: ChildDaemon[] = [];
let doors: Server[] = [];
let agentUrls: string[];
let coordinator: CoordinatorClient;
const refused: string[] = [];

/** 404 for everything that the reference's listener does not know. */
function door(port: number): Promise<Server> {
  const server = createServer((incoming, answer) => {
    if (incoming.method !== 'POST' || incoming.url !== '/') {
      refused.push(`${incoming.method} ${incoming.url}`);
      answer.writeHead(404).end();
      return;
    }
    const { authorization: _token, ...headers } = incoming.headers;
    const passed = request({ host: '127.0.0.1', port, method: 'POST', path: '/', headers }, (real) => {
      answer.writeHead(200);
      real.pipe(answer);
    });
    passed.on('error', () => answer.destroy());
    incoming.pipe(passed);
  });
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server)));
}

const handler = (handler_id: number, handler_name: string, handler_type: number, params: object = {}) => ({
  ...{ handler_id, handler_name, handler_type, params },
});
const link = (source_handler: number, target_handler: number, target_input = 0) => ({
  ...{ source_handler, source_output: 0, target_handler, target_input },
});

/** The reference's offload_detect, with pictures for a camera. */
const SERVICE = {
  service_id: 1,
  service_name: 'offload_detect',
  template: [
    {
      node_id: 0,
      blueprint: {
        handlers: [
          handler(0, 'capture', 2, { source: 'pictures', width: 640, height: 480, fps: 20 }),
          ...[handler(1, 'encode', 5, { quality: 80 }), handler(2, 'tx', 0, { port: 9100 })],
          ...[handler(7, 'rx', 1, { port: 9101 }), handler(8, 'draw', 16), handler(9, 'render', 3)],
        ],
        links: [link(0, 1), link(1, 2), link(0, 8), link(7, 8, 1), link(8, 9)],
      },
    },
    {
      node_id: 1,
      blueprint: {
        handlers: [
          ...[handler(3, 'rx', 1, { port: 9100 }), handler(4, 'decode', 6)],
          ...[handler(5, 'detect_object', 7, { targets: ['person'] }), handler(6, 'tx', 0, { port: 9101 })],
        ],
        links: [link(3, 4), link(4, 5), link(5, 6)],
      },
    },
  ],
};

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'reference-nodes-'));
  for (const name of ['pictures', 'nodes', 'services']) mkdirSync(join(dir, name));
  copyFileSync(SAMPLES[0]!, join(dir, 'face.jpg'));
  for (let index = 100; index < 999; index++) linkSync(join(dir, 'face.jpg'), join(dir, 'pictures', `${index}.jpg`));
  const [coordinatorPort, ...ports] = (await freePorts(3)) as [number, number, number];
  agentUrls = ports.map((port) => `http://127.0.0.1:${port}`);
  doors = await Promise.all(ports.map(door));
  for (const [node_id, server] of doors.entries()) {
    const { port } = server.address() as AddressInfo;
    const file = { node_id, node_name: `reference-${node_id}`, node_type: 'server', node_addr: '127.0.0.1' };
    const node = { ...file, node_port: port, control: 'reference' };
    writeFileSync(join(dir, 'nodes', `${node_id}.json`), JSON.stringify(node));
  }
  writeFileSync(join(dir, 'services', 'offload_detect.json'), JSON.stringify(SERVICE));
  const daemon = (name: string, command: string, url: string, sections: Parameters<typeof iniText>[0]) => {
    const conf = join(dir, `${name}.conf`);
    writeFileSync(conf, iniText(sections));
    return new ChildDaemon({
      ...{ name, args: [command, conf, '--insecure'], logFile: join(dir, `${name}.log`), tmpDir: dir },
      probe: async () => {
        if (!(await fetch(`${url}/v1/health`)).ok) throw new Error('not yet');
      },
    });
  };
  const home = process.cwd();
  process.chdir(dir);
  daemons = ports.map((port, index) =>
    daemon(`node-${index}`, 'node', agentUrls[index]!, {
      listener: { listener_addr: '127.0.0.1', listener_port: port },
      reporter: { enabled: false },
    }),
  );
  await Promise.all(daemons.map((one) => one.answers()));
  const url = `http://127.0.0.1:${coordinatorPort}`;
  const controller = daemon('coordinator', 'coordinator', url, {
    coordinator: { coordinator_port: coordinatorPort, node_path: 'nodes', service_type_path: 'services' },
    database: { db_path: 'reports.db' },
  });
  daemons.push(controller);
  process.chdir(home);
  await controller.answers();
  coordinator = createCoordinatorClient({ url, token: null });
});
afterAll(async () => {
  await coordinator?.close();
  await Promise.all(daemons.map((one) => one.stop()));
  for (const server of doors) server.close();
  rmSync(dir, { recursive: true, force: true });
});

const onNode = async (node: number) =>
  (await (await fetch(`${agentUrls[node]}/v1/sessions`)).json()) as ObservedSession[];

test('a session of ours runs on them, frames flow, and its end leaves nothing there', async () => {
  expect((await coordinator.nodes()).map(({ state, facts }) => [state, facts?.version])).toEqual([
    ['up', 'reference'],
    ['up', 'reference'],
  ]);
  const { session_id } = await coordinator.createSession({ service: 'offload_detect' });
  await eventually('the session to run', async () =>
    (await coordinator.session(session_id!)).observed === 'running' ? true : undefined,
  );
  await eventually('frames with boxes at the renderer', async () => {
    const handlers = (await onNode(0))[0]?.handlers ?? [];
    const rendered = handlers.find(({ handler_name }) => handler_name === 'render')?.stats?.processed ?? 0;
    return rendered > 2 || undefined;
  });
  await coordinator.stopSession(session_id!);
  await eventually('the session to be gone from the nodes', async () =>
    [...(await onNode(0)), ...(await onNode(1))].length === 0 ? true : undefined,
  );
  expect(refused).toEqual([]);
});
