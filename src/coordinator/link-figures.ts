/**
 * The network from one node to another as the allocator reckons with it and people are shown it: for round trip and rate
 * the best that is known, and from where. Pure.
 */
import type { LinkFigure } from '../contracts/plan.js';
import type { LinkTable } from './link-table.js';
import type { RegisteredNode } from './node-registry.js';

export type MeasuredLinks = Pick<LinkTable, 'rtt' | 'mbit'>;

export interface LinkFigures {
  readonly rtt: LinkFigure;
  readonly mbit: LinkFigure;
}

export function linkFigures(source: RegisteredNode, target: RegisteredNode, measured: MeasuredLinks): LinkFigures {
  const [from, to] = [source.file.node_id, target.file.node_id];
  const rtt = measured.rtt(from, to);
  return {
    rtt: rtt === null ? byWayOfHere(source, target) : { value: rtt.value, from: rtt.by, age_s: rtt.ageS },
    mbit: rate(Math.min(source.file.bandwidth_mbit, target.file.bandwidth_mbit), measured.mbit(from, to)),
  };
}

/** Whether other nodes can open connections to it. */
export function isDialable({ file }: RegisteredNode): boolean {
  return file.dialable !== false;
}

/** Each node hangs on its own access link: between two of them lie the links of both. */
function byWayOfHere(source: RegisteredNode, target: RegisteredNode): LinkFigure {
  const of = ({ file, status }: RegisteredNode) => status.clock.rttMs ?? file.rtt_ms;
  const isMeasured = source.status.clock.rttMs !== null && target.status.clock.rttMs !== null;
  return { value: of(source) + of(target), from: isMeasured ? 'heartbeat' : 'file', age_s: null };
}

/** A node file says what the operator grants to sessions; what is measured can only show that there is less. */
function rate(grantedMbit: number, measured: ReturnType<LinkTable['mbit']>): LinkFigure {
  if (measured === null || measured.value >= grantedMbit) return { value: grantedMbit, from: 'file', age_s: null };
  return { value: measured.value, from: measured.by, age_s: measured.ageS };
}
