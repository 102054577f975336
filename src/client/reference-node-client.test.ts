/** Against a node written from the reference's description alone: one POST address, four actions, its rules, 200 always. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { NodeSession } from '../contracts/blueprint.js';
import type { NodeFile } from '../contracts/node.js';
import { systemClock } from '../std/clock.js';
import type { NodeClient } from './node-client.js';
import { createReferenceNodeClient, linkPort } from './reference-node-client.js';

interface Asked {
  readonly action: string;
  readonly session_id: number;
  readonly blueprint?: { readonly handlers: readonly object[]; readonly links: readonly object[] };
}

class ReferenceNode {
  readonly asked: Asked[] = [];
  /** session_id -> initialized, running, stopped */
  readonly sessions = new Map<number, string>();
  refuseInit: string | null = null;
  readonly #server: Server;

  constructor() {
    this.#server = createServer((request, response) => {
      let text = '';
      request.on('data', (chunk) => {
        text += chunk;
      });
      request.on('end', () => {
        if (request.method !== 'POST' || request.url !== '/') return void response.writeHead(501).end();
        const reason = this.#act(JSON.parse(text) as Asked);
        response.end(JSON.stringify(reason === null ? { result: 'Succeeded' } : { result: 'Failed', reason }));
      });
    });
  }

  #act(asked: Asked): string | null {
    this.asked.push(asked);
    const { action, session_id } = asked;
    const state = this.sessions.get(session_id);
    const next = (is: boolean, to: string, why: string) => {
      if (!is) return why;
      this.sessions.set(session_id, to);
      return null;
    };
    if (action === 'init') {
      if (this.refuseInit !== null) return this.refuseInit;
      return next(state === undefined, 'initialized', 'session id in use');
    }
    if (action === 'start') return next(state === 'initialized', 'running', 'not initialized, running or stopped');
    if (action === 'stop') return next(state === 'running', 'stopped', 'not running');
    if (state === undefined || state === 'running') return 'no session, or running';
    this.sessions.delete(session_id);
    return null;
  }

  listen(): Promise<string> {
    return new Promise((resolve) => {
      this.#server.listen(0, '127.0.0.1', () =>
        resolve(`http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`),
      );
    });
  }

  close(): Promise<void> {
    this.#server.closeAllConnections();
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }
}

const file = (node_id: number, node_addr: string, control?: 'reference'): NodeFile => ({
  ...{ node_id, node_name: `n${node_id}`, node_type: 'server', node_addr, node_port: 9000, labels: [] },
  ...{ rtt_ms: 0.5, bandwidth_mbit: 1000, ...(control && { control }) },
});
const PEERS = [file(0, '10.0.0.5', 'reference'), file(1, '10.0.0.6', 'reference'), file(2, '10.0.0.7')];

const handler = (handler_id: number, handler_type: number) => ({
  ...{ handler_id, handler_name: `h${handler_id}`, handler_type, params: {} },
});
/** capture -> encode here, decode -> draw on node `other`, whose detections come back to draw. */
function share(more: Partial<NodeSession> = {}, other = 1): NodeSession {
  const link = (source_handler: number, target_handler: number, source_node: number, target_node: number) => ({
    ...{ source_handler, source_output: 0, target_handler, target_input: 0, source_node, target_node },
  });
  return {
    ...{ session_id: 5, epoch: 3, generation: 1, desired: 'ready', node_id: 0, delivery: 'latest' },
    handlers: [handler(0, 2), handler(1, 5), handler(4, 3)],
    links: [link(0, 1, 0, 0), link(1, 2, 0, other), link(3, 4, other, 0)],
    ...more,
  };
}

let node: ReferenceNode;
let client: NodeClient;
let url: string;
beforeEach(async () => {
  node = new ReferenceNode();
  url = await node.listen();
  client = newClient();
});
afterEach(async () => {
  await client.close();
  await node.close();
});

const newClient = () =>
  createReferenceNodeClient({ file: PEERS[0]!, url, peer: (id) => PEERS[id], clock: systemClock() });
const stateOf = async () => (await client.heartbeat()).sessions[0]?.state;
const reaches = (state: string | undefined) => expect.poll(stateOf).toBe(state);
const actions = () => node.asked.map(({ action }) => action);

describe('a session on a node of the reference', () => {
  it('goes through init, start, stop and delete', async () => {
    expect(await client.putSession(share())).toMatchObject({ state: 'preparing', epoch: 3, generation: 1 });
    await reaches('ready');
    await client.putSession(share({ desired: 'running' }));
    await reaches('running');
    // While it runs, to be ready is what it is.
    await client.putSession(share({ desired: 'ready' }));
    await client.putSession(share({ desired: 'stopped' }));
    await reaches('stopped');
    expect(await client.deleteSession(5, 3)).toBe(true);
    await reaches(undefined);
    expect(await client.deleteSession(5, 3)).toBe(false);
    expect(actions()).toEqual(['init', 'start', 'stop', 'delete']);
    expect(node.sessions.size).toBe(0);
  });

  it('is given tx and rx where a link leaves the node, on a port that the other end computes too', async () => {
    await client.putSession(share());
    await reaches('ready');
    const [out, back] = share()
      .links.slice(1)
      .map((link) => linkPort(5, link));
    const end = (handler_id: number, handler_name: string, handler_type: number, addr: string, port?: number) => ({
      ...{ handler_id, handler_name, handler_type, params: { addr, port, protocol: 'tcp' } },
    });
    expect(node.asked[0]!.blueprint).toEqual({
      handlers: [...share().handlers, end(5, 'tx_2', 0, '10.0.0.6', out), end(6, 'rx_3', 1, '0.0.0.0', back)],
      links: [
        { source_handler: 0, source_output: 0, target_handler: 1, target_input: 0 },
        { source_handler: 1, source_output: 0, target_handler: 5, target_input: 0 },
        { source_handler: 6, source_output: 0, target_handler: 4, target_input: 0 },
      ],
    });
  });

  it('is refused where a link would need another protocol, and nothing is sent', async () => {
    await expect(client.putSession(share({}, 2))).rejects.toMatchObject({ code: 'REQUEST_INVALID' });
    await expect(client.putSession(share({}, 2))).rejects.toThrow(/node n2 at the other end of a link speaks another/);
    expect(node.asked).toEqual([]);
  });

  it('says why it failed, and tries the next plan', async () => {
    node.refuseInit = 'no camera';
    await client.putSession(share({ desired: 'running' }));
    await reaches('failed');
    const [session] = (await client.heartbeat()).sessions;
    expect(session!.handlers[0]!.error).toBe('n0 refuses init of session 5: no camera');
    node.refuseInit = null;
    await client.putSession(share({ desired: 'running', generation: 2 }));
    await reaches('running');
  });

  it('is made anew for a changed plan, and when it shall run again', async () => {
    await client.putSession(share({ desired: 'running' }));
    await reaches('running');
    await client.putSession(share({ desired: 'running', generation: 2 }));
    expect(actions()).toEqual(['init', 'start']);
    await client.putSession(share({ desired: 'running', generation: 3, handlers: share().handlers.toReversed() }));
    await expect.poll(actions).toEqual(['init', 'start', 'stop', 'delete', 'init', 'start']);
    await client.putSession(share({ desired: 'stopped', generation: 3, handlers: share().handlers.toReversed() }));
    await reaches('stopped');
    await client.putSession(share({ desired: 'running', generation: 4 }));
    await reaches('running');
    expect(actions().slice(6)).toEqual(['stop', 'delete', 'init', 'start']);
  });

  it('of an earlier coordinator is ended first', async () => {
    await client.putSession(share({ desired: 'running' }));
    await reaches('running');
    await client.close();
    client = newClient();
    await client.putSession(share({ desired: 'running', created_at: 1 }));
    await reaches('running');
    expect(actions()).toEqual(['init', 'start', 'stop', 'delete', 'init', 'start']);
  });

  it('cannot measure paths, and is gone when it takes no connection', async () => {
    await expect(client.probe({ url, target_node: 1, bytes_max: 1 })).rejects.toThrow(/cannot measure paths/);
    expect(await client.reachable(1000)).toBe(true);
    await node.close();
    await expect(client.heartbeat()).rejects.toMatchObject({
      code: 'NODE_UNREACHABLE',
      context: { cause: 'ECONNREFUSED' },
    });
    expect(await client.reachable(1000)).toBe(false);
  });
});
