/**
 * From untrusted JSON to a snapshot that planners may trust: shape and ranges by the schema, then what one part says of
 * another (ids, sites, services, cycles). Everything that is wrong is told with its place; sizes are looked at first, so
 * that a snapshot which is too large costs nothing.
 */
import { OrchestratorError } from '../../contracts/errors.js';
import {
  FLEET_NODES_MAX,
  FLEET_SESSIONS_MAX,
  type FleetPath,
  type FleetSnapshot,
  FleetSnapshotSchema,
  type FleetVariant,
} from '../../contracts/fleet.js';
import { parseWith } from '../../contracts/schema.js';
import { inOrder } from './graphs.js';

/** Alternatives of all handlers x nodes: tables of 42 bytes each, so at most some 300 MB. */
const CELLS_MAX = 8_000_000;

const FAULTS_TOLD_MAX = 5;

/** Throws FLEET_SNAPSHOT_INVALID. */
export function checkFleet(value: unknown, what: string): FleetSnapshot {
  const faults = [...sizeFaults(value)];
  if (faults.length === 0) {
    const snapshot = parseWith(FleetSnapshotSchema, value, 'FLEET_SNAPSHOT_INVALID', what);
    for (const fault of crossFaults(snapshot)) {
      faults.push(fault);
      if (faults.length >= FAULTS_TOLD_MAX) break;
    }
    if (faults.length === 0) return snapshot;
  }
  throw new OrchestratorError('FLEET_SNAPSHOT_INVALID', `${what}: ${faults.join('; ')}`, { faults });
}

function* sizeFaults(value: unknown): Generator<string> {
  const lengthOf = (key: string): number => {
    const list = (value as Record<string, unknown> | null)?.[key];
    return Array.isArray(list) ? list.length : 0;
  };
  if (lengthOf('sessions') > FLEET_SESSIONS_MAX)
    yield `/sessions has ${lengthOf('sessions')} entries, at most ${FLEET_SESSIONS_MAX} are planned`;
  if (lengthOf('nodes') > FLEET_NODES_MAX)
    yield `/nodes has ${lengthOf('nodes')} entries, at most ${FLEET_NODES_MAX} are planned`;
}

function* crossFaults(snapshot: FleetSnapshot): Generator<string> {
  const nodes = yield* unique(
    snapshot.nodes.map((one) => one.node_id),
    '/nodes',
    'node_id',
  );
  const sites = yield* unique(
    snapshot.sites.map((one) => one.site),
    '/sites',
    'site',
  );
  const services = yield* unique(
    snapshot.services.map((one) => one.service_name),
    '/services',
    'service_name',
  );
  yield* unique(
    snapshot.sessions.map((one) => one.session_id),
    '/sessions',
    'session_id',
  );
  for (const [index, node] of snapshot.nodes.entries()) {
    if (node.site !== null && !sites.has(node.site)) yield `/nodes/${index}/site ${node.site} is not one of sites`;
  }
  yield* pathFaults(snapshot.paths ?? [], nodes);
  for (const [index, service] of snapshot.services.entries()) {
    for (const [at, variant] of service.variants.entries())
      yield* variantFaults(variant, `/services/${index}/variants/${at}`);
  }
  const options = snapshot.services
    .flatMap((one) => one.variants)
    .flatMap((one) => one.handlers)
    .reduce((sum, one) => sum + one.alternatives.length, 0);
  if (options * snapshot.nodes.length > CELLS_MAX)
    yield `/services has ${options} alternatives, times ${snapshot.nodes.length} nodes > ${CELLS_MAX}`;
  for (const [index, session] of snapshot.sessions.entries()) {
    const place = `/sessions/${index}`;
    if (!nodes.has(session.source_node)) yield `${place}/source_node ${session.source_node} is not one of nodes`;
    if (!services.has(session.service)) yield `${place}/service ${session.service} is not one of services`;
    else if (session.variant !== undefined) {
      const known = snapshot.services
        .find((one) => one.service_name === session.service)!
        .variants.map((one) => one.variant_name);
      if (!known.includes(session.variant))
        yield `${place}/variant ${session.variant} is not one of ${known.join(', ')}`;
    }
  }
}

function* unique<T>(values: readonly T[], place: string, key: string): Generator<string, Set<T>> {
  const seen = new Set<T>();
  for (const [index, value] of values.entries()) {
    if (seen.has(value)) yield `${place}/${index}/${key} ${String(value)} is used twice`;
    seen.add(value);
  }
  return seen;
}

function* pathFaults(paths: readonly FleetPath[], nodes: ReadonlySet<number>): Generator<string> {
  const seen = new Set<string>();
  for (const [index, { source_node, target_node }] of paths.entries()) {
    for (const id of [source_node, target_node])
      if (!nodes.has(id)) yield `/paths/${index} names node ${id}, which is not one of nodes`;
    const key = `${source_node}>${target_node}`;
    if (seen.has(key)) yield `/paths/${index} from ${source_node} to ${target_node} is listed twice`;
    seen.add(key);
  }
}

function* variantFaults(variant: FleetVariant, place: string): Generator<string> {
  const ids = yield* unique(
    variant.handlers.map((one) => one.handler_id),
    `${place}/handlers`,
    'handler_id',
  );
  for (const [index, link] of variant.links.entries()) {
    for (const id of [link.source_handler, link.target_handler]) {
      if (!ids.has(id)) yield `${place}/links/${index} names handler ${id}, which the variant does not have`;
    }
  }
  if (ids.size === variant.handlers.length && inOrder(variant).length < variant.handlers.length)
    yield `${place}/links form a cycle`;
}
