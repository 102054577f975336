/** 4, 9 and 10: what frames need changes, a node joins, a node slows down. */
import { framesOf, isCloud, isEdge, populated, SETTLED_S } from '../fleets.js';
import type { Scenario } from '../scenario.js';

/** Of the reference's table. */
const ALIGN_FACES = 11;
const RECOGNIZE_FACES = 15;

const DURATION_S = 260;

const content: Scenario = {
  name: 'content-surge',
  about: 'from 1 to 20 faces in a frame at 100 s: aligning and recognizing take 20 times the work for 60 s; 50 % full',
  size: { nodes: 30, sessions: 100 },
  script(size, seed) {
    const { fleet, visitors } = populated(size, seed, 0.5);
    const surge = (atS: number, factor: number) =>
      [ALIGN_FACES, RECOGNIZE_FACES].map((handler_type) => ({ atS, kind: 'content' as const, handler_type, factor }));
    return {
      ...{ fleet, visitors, durationS: DURATION_S, windows: framesOf(size, 0, DURATION_S) },
      events: [...surge(SETTLED_S, 20), ...surge(SETTLED_S + 60, 1)],
    };
  },
};

const gpuJoins: Scenario = {
  name: 'gpu-node-joins',
  about: 'the cloud node with the most GPUs is away and joins at 100 s; the fleet would be 80 % full with it',
  size: { nodes: 30, sessions: 100 },
  script(size, seed) {
    const { fleet, visitors } = populated(size, seed, 0.8);
    const { node_id } = fleet.nodes.filter(isCloud).sort((a, b) => b.gpus - a.gpus)[0]!;
    const nodes = fleet.nodes.map((one) => (one.node_id === node_id ? { ...one, up: false } : one));
    return {
      ...{ fleet: { ...fleet, nodes }, visitors, durationS: DURATION_S, windows: framesOf(size, 0, DURATION_S) },
      events: [{ atS: SETTLED_S, kind: 'node_returns', node_id }],
    };
  },
};

const straggler: Scenario = {
  name: 'straggler',
  about: 'the largest edge node gets three times slower at 100 s and does not say so; the fleet is 80 % full',
  size: { nodes: 30, sessions: 100 },
  script(size, seed) {
    const { fleet, visitors } = populated(size, seed, 0.8);
    const { node_id } = fleet.nodes.filter(isEdge).sort((a, b) => b.gpus - a.gpus || b.cpu_cores - a.cpu_cores)[0]!;
    return {
      ...{ fleet, visitors, durationS: DURATION_S, windows: framesOf(size, 0, DURATION_S) },
      events: [{ atS: SETTLED_S, kind: 'slow', node_id, factor: 3 }],
    };
  },
};

export const CHANGES: readonly Scenario[] = [content, gpuJoins, straggler];
