import { expect, test } from 'vitest';
import type { NodeView } from '../../contracts/node.js';
import type { SessionView } from '../../contracts/session.js';
import { type ClusterLook, topFigures, topText } from './top-text.js';

/** What `top` reads of a cluster with one session whose second handler drops. */
function look(at: number, late: number): ClusterLook {
  const stats = (fps: number, dropped: Record<string, number>) => ({
    ...{ fps, dropped, queue: 2, service_ms_p95: 12.34, queue_ms_p95: 0.5, end_to_end_ms_p95: null },
  });
  const handler = (handler_id: number, handler_name: string, stat: object) => ({
    ...{ handler_id, handler_name, handler_type: 2, state: 'running', pid: 1, restarts: 0, links: [], stats: stat },
  });
  const observed = {
    handlers: [handler(0, 'capture', stats(30, {})), handler(1, 'detect', stats(20, { late, queue: 1 }))],
  };
  const session = {
    ...{ session_id: 4, service_name: 'faces', desired: 'running', observed: 'running' },
    plan: { links: [], handlers: [0, 1].map((handler_id) => ({ handler_id, node_id: 1 })) },
    nodes: [{ node_id: 1, node_name: 'edge', observed }],
  };
  const node = (node_id: number, node_name: string, state: string, sessions: number[]) => ({
    ...{
      node_id,
      node_name,
      state,
      sessions,
      rtt_measured_ms: 0.4,
      facts: state === 'up' ? { mem_free_mb: 1000.4 } : null,
    },
  });
  const nodes = [node(1, 'edge', 'up', [4]), node(2, 'cloud', 'lost', [])];
  return { at, nodes: nodes as unknown as NodeView[], sessions: [session] as unknown as SessionView[] };
}

test('top shows nodes and handlers, and drops as a rate from the second look on', () => {
  const first = topFigures(look(1000, 3), null);
  expect(first.handlers.map(({ dropped, drops_per_s }) => [dropped, drops_per_s])).toEqual([[0, null], [4, null]]); // biome-ignore format: one line
  const second = topFigures(look(1002, 8), first);
  expect(second.handlers.map(({ dropped, drops_per_s }) => [dropped, drops_per_s])).toEqual([[0, 0], [9, 2.5]]); // biome-ignore format: one line
  // Started again: it counts from nothing.
  expect(topFigures(look(1004, 0), second).handlers[1]!.drops_per_s).toBe(0);
  const [head, nodes, handlers] = topText(second).split('\n\n');
  expect(head).toMatch(/^\d\d:\d\d:\d\d\.\d {2}1 of 2 nodes up, 1 sessions, 2 handlers$/);
  expect(nodes).toBe(
    'node   state  sessions  handlers  free MiB  rtt ms\nedge   up            1         2      1000    0.40\ncloud  lost          0         0         -    0.40',
  );
  expect(handlers!.split('\n')[2]).toBe(
    '4 faces  1 detect   edge  running  20.0         12.3       0.50               -        2        9      2.5',
  );
});
