/**
 * `whatif` and `capacity`: a snapshot, live or from a file, and what is asked of it by names. What is left open is taken
 * from the service's running sessions, so that one more means one more like those.
 */
import { checkFleet } from '../allocation/fleet/check-fleet.js';
import {
  type Added,
  CAPACITY_MAX,
  type Capacity,
  capacityOf,
  type WhatIfAnswer,
  whatIf,
} from '../allocation/fleet/whatif.js';
import { readDocument } from '../config/documents.js';
import { OrchestratorError } from '../contracts/errors.js';
import type { FleetNode, FleetSnapshot } from '../contracts/fleet.js';
import type { Objective } from '../contracts/plan.js';

/** As ObjectiveSchema has it. */
const FPS_DEFAULT = 10;

/** A node id, or its name. */
export type NodeRef = number | string;

export interface Asked {
  readonly service: string;
  readonly objective: Partial<Objective>;
  readonly sourceNode?: NodeRef;
}

export interface WhatIfOptions {
  readonly lose: readonly NodeRef[];
  readonly add: number;
  readonly asked: Asked | null;
}

/** Throws what readDocument throws, and FLEET_SNAPSHOT_INVALID. */
export function readFleet(file: string): FleetSnapshot {
  return checkFleet(readDocument(file), file);
}

/** Throws NODE_NOT_FOUND, SERVICE_NOT_FOUND, REQUEST_INVALID. */
export function askWhatIf(snapshot: FleetSnapshot, { lose, add, asked }: WhatIfOptions): WhatIfAnswer {
  if (add > CAPACITY_MAX) throw invalid(`add ${add} is more than ${CAPACITY_MAX}`);
  if (add > 0 && asked === null) throw invalid('to add sessions, say of which service');
  const added = asked === null ? null : addedOf(snapshot, asked);
  return whatIf(snapshot, { lose: lose.map((ref) => findNode(snapshot, ref).node_id), add, added });
}

/** Throws what askWhatIf throws. */
export function askCapacity(snapshot: FleetSnapshot, asked: Asked): Capacity {
  return capacityOf(snapshot, addedOf(snapshot, asked));
}

const invalid = (message: string) => new OrchestratorError('REQUEST_INVALID', message);

function findNode({ nodes }: FleetSnapshot, ref: NodeRef): FleetNode {
  const found = nodes.find((one) => one.node_id === ref || one.node_name === ref);
  if (found !== undefined) return found;
  const known = nodes.map((one) => one.node_name).join(', ') || 'none';
  throw new OrchestratorError('NODE_NOT_FOUND', `no node is ${ref}; known: ${known}`);
}

function addedOf(snapshot: FleetSnapshot, { service, objective, sourceNode }: Asked): Added {
  const found = snapshot.services.find((one) => one.service_name === service);
  if (found === undefined) {
    const known = snapshot.services.map((one) => one.service_name).join(', ') || 'none';
    throw new OrchestratorError('SERVICE_NOT_FOUND', `no service is ${service}; known: ${known}`, { service });
  }
  const like = snapshot.sessions.find((one) => one.service === service);
  const given = Object.fromEntries(Object.entries(objective).filter(([, value]) => value !== undefined));
  return {
    service,
    objective: { ...(like?.objective ?? { fps: FPS_DEFAULT }), ...given },
    source_node:
      sourceNode === undefined ? (like?.source_node ?? firstSource(snapshot)) : findNode(snapshot, sourceNode).node_id,
  };
}

/** The weakest node that is up: cameras hang on small machines. */
function firstSource({ nodes }: FleetSnapshot): number {
  const up = nodes.filter((one) => one.up).sort((a, b) => a.cpu_cores * a.speed - b.cpu_cores * b.speed);
  const first = up[0];
  if (first === undefined) throw invalid('no node is up');
  return first.node_id;
}
