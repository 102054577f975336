/** 11 and 15: fleets that are hard to fill. */
import type { FleetNode, FleetSession } from '../../contracts/fleet.js';
import { framesOf, populated } from '../fleets.js';
import type { Scenario, Visitor } from '../scenario.js';

const DURATION_S = 180;

const changed = (visitors: readonly Visitor[], change: (session: FleetSession, index: number) => FleetSession) =>
  visitors.map((one, index): Visitor => ({ ...one, session: change(one.session, index) }));

/** Half of the client nodes are small ARM boards, a third of the edge GPUs are gone, another third is half as fast. */
const mixed: Scenario = {
  name: 'mixed-machines',
  about:
    'ARM clients, edge nodes without GPUs, unequal GPUs; the faces of every third session stay on its site; 70 % full',
  size: { nodes: 30, sessions: 100 },
  script(size, seed) {
    const { fleet, visitors } = populated(size, seed, 0.7);
    const nodes = fleet.nodes.map((node, index): FleetNode => {
      if (node.labels.includes('client') && index % 2 === 0) return { ...node, speed: node.speed * 0.6, cpu_cores: 4 };
      if (node.labels.includes('edge') && index % 3 === 0) return { ...node, gpus: 0 };
      return node.labels.includes('edge') && index % 3 === 1 ? { ...node, speed: node.speed * 0.5 } : node;
    });
    const siteOf = new Map(nodes.map(({ node_id, site }) => [node_id, site]));
    const stays = changed(visitors, (session, index) => {
      const site = siteOf.get(session.source_node);
      return index % 3 === 0 && typeof site === 'string' ? { ...session, stay: site } : session;
    });
    const windows = framesOf(size, 0, DURATION_S);
    return { fleet: { ...fleet, nodes }, visitors: stays, events: [], durationS: DURATION_S, windows };
  },
};

/** Memory for a few of the eight models only. */
const EDGE_MEM_MB = 1600;

const packing: Scenario = {
  name: 'packing',
  about:
    'every tenth session is huge (30 fps, best models, ten times the weight), the others tiny; edge memory for few models',
  size: { nodes: 30, sessions: 150 },
  script(size, seed) {
    const { fleet, visitors } = populated(size, seed, 1);
    const nodes = fleet.nodes.map((node) => (node.labels.includes('edge') ? { ...node, mem_mb: EDGE_MEM_MB } : node));
    const sized = changed(visitors, (session, index) => ({
      ...session,
      weight: index % 10 === 0 ? 10 : 1,
      objective:
        index % 10 === 0
          ? { ...session.objective, fps: 30, accuracy_min: 0.9 }
          : { ...session.objective, fps: Math.max(2, session.objective.fps / 4) },
    }));
    const windows = framesOf(size, 0, DURATION_S);
    return { fleet: { ...fleet, nodes }, visitors: sized, events: [], durationS: DURATION_S, windows };
  },
};

const large: Scenario = {
  name: 'thousand-nodes',
  about: '1000 nodes, 10 000 sessions, 40 % full, nothing happens; frames of the last 10 s',
  size: { nodes: 1000, sessions: 10_000 },
  script(size, seed) {
    const { fleet, visitors } = populated(size, seed, 0.4);
    return { fleet, visitors, events: [], durationS: 60, windows: framesOf(size, 0, 60) };
  },
};

export const MIXES: readonly Scenario[] = [mixed, packing];
export const LARGE: readonly Scenario[] = [large];
