/**
 * Seeded instances of the allocation problem, for benches, tests and simulation. The mix is that of ALLOCATION.md's
 * prototype: half of the nodes are cameras' client machines, 42 % edge servers in sites of about three, 8 % cloud.
 * All times in ms on a node of speed 1; every number is drawn uniformly from the range that is written beside it.
 */
import type {
  FleetAlternative,
  FleetHandler,
  FleetNode,
  FleetService,
  FleetSession,
  FleetSite,
  FleetSnapshot,
} from '../../contracts/fleet.js';
import { seededRandom } from '../../std/prng.js';

export interface InstanceOptions {
  readonly nodes: number;
  readonly sessions: number;
  readonly seed: number;
  /** Multiplies every frame rate: the load. */
  readonly load?: number;
}

interface Draw {
  between(low: number, high: number): number;
  whole(low: number, high: number): number;
  chance(share: number): boolean;
  pick<T>(from: readonly T[]): T;
}

export function instanceOf({ nodes, sessions, seed, load = 1 }: InstanceOptions): FleetSnapshot {
  const draw = drawFrom(seededRandom(seed * 7919 + nodes));
  const clients = Math.round(nodes * 0.5);
  const clouds = Math.max(1, Math.round(nodes * 0.08));
  const edges = nodes - clients - clouds;
  const siteCount = Math.max(1, Math.round(edges / 3));
  const sites = Array.from({ length: siteCount }, (_, index) => siteOf(index, draw));
  const made: FleetNode[] = [];
  for (let index = 0; index < clients; index++) made.push(clientNode(made.length, draw.pick(sites).site, draw));
  for (let index = 0; index < edges; index++) made.push(edgeNode(made.length, sites[index % siteCount]!.site, draw));
  for (let index = 0; index < clouds; index++) made.push(cloudNode(made.length, draw));
  return {
    nodes: made,
    sites,
    services: [FACE_SERVICE, OBJECT_SERVICE],
    profiles: [],
    sessions: Array.from({ length: sessions }, (_, index) =>
      sessionOf(index, made[draw.whole(0, clients - 1)]!, load, draw),
    ),
  };
}

function drawFrom(random: () => number): Draw {
  const whole = (low: number, high: number) => low + Math.floor(random() * (high - low + 1));
  return {
    between: (low, high) => low + random() * (high - low),
    whole,
    chance: (share) => random() < share,
    pick: (from) => from[whole(0, from.length - 1)]!,
  };
}

function siteOf(index: number, draw: Draw): FleetSite {
  const mbit = draw.between(100, 300);
  return { site: `site-${index}`, wan: { latency_ms: draw.between(8, 22) / 2, up_mbit: mbit, down_mbit: mbit } };
}

const COMMON = { up: true, drained: false, labels: [], handler_types: null };

function clientNode(node_id: number, site: string, draw: Draw): FleetNode {
  const mbit = draw.between(40, 120);
  return {
    ...{ ...COMMON, node_id, node_name: `client-${node_id}`, labels: ['client', site], site },
    ...{ speed: draw.between(0.3, 0.6), cpu_cores: draw.whole(2, 4), mem_mb: draw.whole(1000, 4000), gpus: 0 },
    access: { latency_ms: draw.between(1, 4), up_mbit: mbit, down_mbit: mbit },
  };
}

function edgeNode(node_id: number, site: string, draw: Draw): FleetNode {
  return {
    ...{ ...COMMON, node_id, node_name: `edge-${node_id}`, labels: ['edge', site], site },
    ...{ speed: draw.between(0.7, 1.1), cpu_cores: draw.whole(8, 16), mem_mb: draw.whole(8000, 32000) },
    gpus: draw.chance(0.6) ? 1 : 0,
    access: { latency_ms: draw.between(0.2, 0.6), up_mbit: 1000, down_mbit: 1000 },
  };
}

function cloudNode(node_id: number, draw: Draw): FleetNode {
  return {
    ...{ ...COMMON, node_id, node_name: `cloud-${node_id}`, labels: ['cloud'], site: null },
    ...{ speed: draw.between(1, 1.3), cpu_cores: draw.whole(32, 64), mem_mb: draw.whole(64000, 128000) },
    gpus: draw.whole(2, 4),
    access: { latency_ms: draw.between(1, 3), up_mbit: 10_000, down_mbit: 10_000 },
  };
}

function sessionOf(session_id: number, source: FleetNode, load: number, draw: Draw): FleetSession {
  const face = draw.chance(0.7);
  return {
    session_id,
    service: face ? FACE_SERVICE.service_name : OBJECT_SERVICE.service_name,
    objective: {
      fps: draw.whole(2, 15) * load,
      latency_ms_max: draw.between(150, 500),
      accuracy_min: face ? draw.between(0.6, 0.85) : draw.between(0.6, 0.8),
    },
    source_node: source.node_id,
    weight: 1,
  };
}

interface Spec {
  readonly name: string;
  readonly cpu: number;
  readonly gpu?: number;
  readonly mem: number;
  readonly model?: number;
  readonly bytes: number;
  readonly accuracy?: number;
}

function alternative({ name, cpu, gpu = 0, mem, model, bytes, accuracy = 1 }: Spec): FleetAlternative {
  const cost = {
    cpu_ms: cpu,
    gpu_ms: gpu,
    mem_mb: mem,
    out_bytes: bytes,
    ...(model === undefined ? {} : { model_mb: model }),
  };
  return { name, params: { model: name }, accuracy, cost };
}

const RAW = 921_600;
/** VGA at quality 60: a camera that compresses for its uplink. */
const JPEG = 25_000;
const CROPS = 90_000;

const DETECT: readonly FleetAlternative[] = [
  alternative({ name: 'tiny', cpu: 22, mem: 60, model: 60, bytes: CROPS, accuracy: 0.82 }),
  alternative({ name: 'small', cpu: 60, mem: 100, model: 150, bytes: CROPS, accuracy: 0.9 }),
  alternative({ name: 'medium', cpu: 8, gpu: 14, mem: 150, model: 300, bytes: CROPS, accuracy: 0.95 }),
  alternative({ name: 'large', cpu: 12, gpu: 32, mem: 300, model: 700, bytes: CROPS, accuracy: 0.985 }),
];

const ALIGN: readonly FleetAlternative[] = [
  alternative({ name: 'points-5', cpu: 3, mem: 30, bytes: 40_000, accuracy: 0.98 }),
  alternative({ name: 'points-68', cpu: 9, mem: 60, bytes: 40_000, accuracy: 1 }),
];

const RECOGNIZE: readonly FleetAlternative[] = [
  alternative({ name: 'mobile', cpu: 18, mem: 60, model: 50, bytes: 3000, accuracy: 0.9 }),
  alternative({ name: 'small', cpu: 45, mem: 100, model: 150, bytes: 3000, accuracy: 0.94 }),
  alternative({ name: 'medium', cpu: 6, gpu: 12, mem: 150, model: 250, bytes: 3000, accuracy: 0.965 }),
  alternative({ name: 'large', cpu: 9, gpu: 26, mem: 300, model: 600, bytes: 3000, accuracy: 0.99 }),
];

const plain = (cpu: number, bytes: number): readonly FleetAlternative[] => [
  alternative({ name: 'default', cpu, mem: 8, bytes }),
];

/** handler_type ids are those of the reference's table. */
function chain(
  service_name: string,
  parts: readonly [string, number, readonly FleetAlternative[], boolean][],
): FleetService {
  const handlers = parts.map(
    ([handler_name, handler_type, alternatives, pinned], index): FleetHandler => ({
      ...{ handler_id: index + 1, handler_name, handler_type, require: {} },
      at: pinned ? { kind: 'source' } : null,
      alternatives: [...alternatives],
    }),
  );
  const links = handlers
    .slice(1)
    .map(({ handler_id }) => ({ source_handler: handler_id - 1, target_handler: handler_id }));
  return { service_name, variants: [{ variant_name: 'default', accuracy: 1, handlers, links }] };
}

export const FACE_SERVICE: FleetService = chain('face', [
  ['capture', 2, plain(0.5, RAW), true],
  ['encode', 5, plain(1.5, JPEG), true],
  ['decode', 6, plain(3, RAW), false],
  ['detect', 12, DETECT, false],
  ['align', 11, ALIGN, false],
  ['recognize', 15, RECOGNIZE, false],
  ['render', 3, plain(0.5, 0), true],
]);

export const OBJECT_SERVICE: FleetService = chain('object', [
  ['capture', 2, plain(0.5, RAW), true],
  ['encode', 5, plain(1.5, JPEG), true],
  ['decode', 6, plain(3, RAW), false],
  ['detect', 7, DETECT.map((one) => ({ ...one, cost: { ...one.cost, out_bytes: 3000 } })), false],
  ['render', 3, plain(0.5, 0), true],
]);
