/** `/metrics` for Prometheus: a registry of its own, so that two coordinators in one process do not share figures. */
import { Counter, Gauge, Registry } from 'prom-client';
import type { SessionState } from '../contracts/session.js';
import type { Failover } from './failover.js';
import type { NodeRegistry } from './node-registry.js';
import { observedState } from './session-record.js';
import type { SessionTable } from './session-table.js';

export interface CoordinatorMetricsOptions {
  readonly table: SessionTable;
  readonly registry: NodeRegistry;
  readonly failover: Failover;
  readonly epoch: number;
}

export function coordinatorMetrics({ table, registry, failover, epoch }: CoordinatorMetricsOptions): Registry {
  const metrics = new Registry();
  const registers = [metrics];
  gauge('orchestrator_nodes', 'Nodes by state', ['state'], (self) => {
    for (const [state, count] of Object.entries(nodesByState(registry))) self.set({ state }, count);
  });
  gauge('orchestrator_sessions', 'Sessions by observed state', ['state'], (self) => {
    for (const [state, count] of Object.entries(sessionsByState(table, registry))) self.set({ state }, count);
  });
  gauge('orchestrator_node_rtt_seconds', 'Shortest recent heartbeat round trip', ['node'], (self) => {
    for (const { file, status } of registry.all()) {
      if (status.clock.rttMs !== null) self.set({ node: file.node_name }, status.clock.rttMs / 1000);
    }
  });
  gauge('orchestrator_epoch', 'Fencing number of this coordinator', [], (self) => self.set(epoch));
  total('orchestrator_heartbeats_total', 'Heartbeats that nodes have answered', () => registry.heartbeats);
  total(
    'orchestrator_replans_total',
    'Sessions placed again after a node was lost or returned',
    () => failover.replans,
  );
  return metrics;

  function gauge(name: string, help: string, labelNames: string[], collect: (self: Gauge) => void): void {
    new Gauge({
      ...{ name, help, labelNames, registers },
      collect() {
        this.reset();
        collect(this);
      },
    });
  }

  function total(name: string, help: string, read: () => number): void {
    new Counter({
      ...{ name, help, registers },
      collect() {
        this.reset();
        this.inc(read());
      },
    });
  }
}

export function nodesByState(registry: NodeRegistry): Record<string, number> {
  const counts: Record<string, number> = { unknown: 0, up: 0, lost: 0 };
  for (const { status } of registry.all()) counts[status.state] = (counts[status.state] ?? 0) + 1;
  return counts;
}

export function sessionsByState(table: SessionTable, registry: NodeRegistry): Partial<Record<SessionState, number>> {
  const counts: Partial<Record<SessionState, number>> = {};
  for (const record of table.all()) {
    const state = observedState(record, registry);
    counts[state] = (counts[state] ?? 0) + 1;
  }
  return counts;
}
