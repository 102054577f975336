/** 5 and 6: nodes die. */
import { framesOf, isCloud, isEdge, populated, SETTLED_S } from '../fleets.js';
import type { Scenario } from '../scenario.js';

const DURATION_S = 260;

/** The edge node with the most cores at 80 %: what was placed there is somebody's whole detection. */
const edgeNode: Scenario = {
  name: 'edge-node-dies',
  about: 'the largest edge node dies at 100 s and is back 60 s later; the fleet is 80 % full',
  size: { nodes: 30, sessions: 100 },
  script(size, seed) {
    const { fleet, visitors } = populated(size, seed, 0.8);
    const { node_id } = fleet.nodes.filter(isEdge).sort((a, b) => b.gpus - a.gpus || b.cpu_cores - a.cpu_cores)[0]!;
    return {
      ...{ fleet, visitors, durationS: DURATION_S, windows: framesOf(size, 0, DURATION_S) },
      events: [
        { atS: SETTLED_S, kind: 'node_dies', node_id },
        { atS: SETTLED_S + 60, kind: 'node_returns', node_id },
      ],
    };
  },
};

const cloudNode: Scenario = {
  name: 'cloud-node-dies',
  about: 'the cloud node with the most GPUs dies at 100 s for good; the fleet is 90 % full',
  size: { nodes: 30, sessions: 100 },
  script(size, seed) {
    const { fleet, visitors } = populated(size, seed, 0.9);
    const { node_id } = fleet.nodes.filter(isCloud).sort((a, b) => b.gpus - a.gpus || b.cpu_cores - a.cpu_cores)[0]!;
    return {
      ...{ fleet, visitors, durationS: DURATION_S, windows: framesOf(size, 0, DURATION_S) },
      events: [{ atS: SETTLED_S, kind: 'node_dies', node_id }],
    };
  },
};

export const LOSSES: readonly Scenario[] = [edgeNode, cloudNode];
