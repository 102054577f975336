import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { LinkStats, ObservedSession } from '../contracts/node.js';
import { LinkTable } from './link-table.js';

function linkTable() {
  const state = { ms: 0 };
  const clock = { now: () => state.ms / 1000, monotonicMs: () => state.ms };
  return { state, table: new LinkTable({ clock, probeFreshS: () => 600 }) };
}

const seen = (link: Partial<LinkStats>): ObservedSession => ({
  ...{ session_id: 1, epoch: 1, generation: 1, desired: 'running', state: 'running' },
  handlers: [
    {
      ...{ handler_id: 2, handler_name: 'detect', handler_type: 7, state: 'running', pid: 1, restarts: 0 },
      links: [
        {
          ...{ source_handler: 1, source_output: 0, target_handler: 2, target_input: 0, source_node: 0 },
          ...{ transport: 'tcp', connected: true, packets: 9, bytes: 9, reconnects: 0, duplicates: 0 },
          ...{ latency_ms_p50: 1, latency_ms_p95: 1, rtt_ms: 8, mbit_per_s: 90, ...link },
        },
      ],
    },
  ],
});

describe('LinkTable', () => {
  it('knows after a restart what was measured before it, and how old that is', () => {
    const { state, table } = linkTable();
    state.ms = 5_000;
    const row = { source_node: 0, target_node: 1, rtt_ms: 8, mbit_per_s: null };
    table.restore(
      [
        { ...row, timestamp: 100, session_id: null, rtt_ms: 12, mbit_per_s: 40 },
        { ...row, timestamp: 890, session_id: 3 },
        { ...row, timestamp: 890, session_id: 3, target_node: 0 },
      ],
      900,
    );
    expect(table.rtt(0, 1)).toEqual({ value: 8, by: 'link', ageS: 10 });
    expect(table.mbit(0, 1)).toBeNull();
    expect(table.rtt(0, 0)).toBeNull();
    table.restore([{ ...row, timestamp: 899, session_id: null, rtt_ms: 12, mbit_per_s: 40 }], 900);
    expect(table.mbit(0, 1)).toEqual({ value: 40, by: 'probe', ageS: 1 });
  });

  it('takes what a running link shows before a probe, and the probe again when the link has gone', () => {
    const { state, table } = linkTable();
    expect(table.rtt(0, 1)).toBeNull();
    table.add('probe', 0, 1, { rttMs: 9, mbitPerS: 50 });
    expect(table.rtt(0, 1)).toEqual({ value: 9, by: 'probe', ageS: 0 });
    table.observe(1, [seen({ mbit_per_s: null })]);
    expect(table.rtt(0, 1)).toEqual({ value: 8, by: 'link', ageS: 0 });
    expect(table.mbit(0, 1)?.by).toBe('probe');
    expect(table.rtt(1, 0)).toBeNull();
    state.ms = 61_000;
    expect(table.rtt(0, 1)).toEqual({ value: 9, by: 'probe', ageS: 61 });
    state.ms = 601_000;
    expect(table.rtt(0, 1)).toBeNull();
  });

  it('does not hear links that are down, inside one node, or not over the network', () => {
    const { table } = linkTable();
    table.observe(1, [seen({ connected: false }), seen({ source_node: 1 }), seen({ transport: 'unix' })]);
    expect([table.rtt(0, 1), table.rtt(1, 1)]).toEqual([null, null]);
  });

  it('believes that a path became longer, or slower, after three probes', () => {
    const { table } = linkTable();
    table.add('probe', 0, 1, { rttMs: 1, mbitPerS: 900 });
    for (let count = 0; count < 2; count++) table.add('probe', 0, 1, { rttMs: 40, mbitPerS: 10 });
    expect([table.rtt(0, 1)!.value, table.mbit(0, 1)!.value]).toEqual([1, 900]);
    table.add('probe', 0, 1, { rttMs: 41, mbitPerS: 9 });
    expect([table.rtt(0, 1)!.value, table.mbit(0, 1)!.value]).toEqual([40, 10]);
  });

  it('is never below the shortest trip of its window nor above the highest rate', () => {
    const reading = fc.record({
      rttMs: fc.option(fc.double({ min: 0, max: 1e4, noNaN: true })),
      mbitPerS: fc.option(fc.double({ min: 0, max: 1e5, noNaN: true })),
      by: fc.constantFrom('link' as const, 'probe' as const),
    });
    fc.assert(
      fc.property(fc.array(reading, { maxLength: 60 }), (readings) => {
        const { table } = linkTable();
        for (const { by, ...one } of readings) table.add(by, 3, 4, one);
        const of = (by: 'link' | 'probe', pick: (one: (typeof readings)[number]) => number | null) =>
          readings.filter((one) => one.by === by).flatMap((one) => pick(one) ?? []);
        const window = { link: 16, probe: 3 };
        const rtt = table.rtt(3, 4);
        const from = of('link', (one) => one.rttMs).length > 0 ? 'link' : 'probe';
        const rtts = of(from, (one) => one.rttMs).slice(-window[from]);
        expect(rtt?.value).toBe(rtts.length === 0 ? undefined : Math.min(...rtts));
      }),
    );
  });
});
