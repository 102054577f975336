/** 12, 13 and 14, and the two of quiet: cameras move, nodes are upgraded, the coordinator is away, nothing happens for an hour. */
import { framesOf, isCloud, isEdge, populated, SETTLED_S } from '../fleets.js';
import type { Scenario, WorldEvent } from '../scenario.js';

const handover: Scenario = {
  name: 'handover',
  about: 'every fifth camera moves to another site every 30 to 120 s; the fleet is 60 % full',
  size: { nodes: 30, sessions: 100 },
  script(size, seed) {
    const durationS = 260;
    const { fleet, visitors, chance } = populated(size, seed, 0.6);
    const clients = fleet.nodes.filter(({ labels }) => labels.includes('client'));
    const events = visitors.flatMap(({ session }, index) => {
      const moves: WorldEvent[] = [];
      if (index % 5 !== 0) return moves;
      let here = clients.find(({ node_id }) => node_id === session.source_node)!;
      for (let atS = 40 + chance.uniform(0, 60); atS < durationS - 20; atS += chance.uniform(30, 120)) {
        const others = clients.filter(({ site }) => site !== here.site);
        if (others.length === 0) break;
        here = chance.pick(others);
        moves.push({ atS, kind: 'camera_moves', session_id: session.session_id, node_id: here.node_id });
      }
      return moves;
    });
    return { fleet, visitors, events, durationS, windows: framesOf(size, 0, durationS) };
  },
};

/** From the order to drain until the node is restarted, and until it is back, s. */
const DRAIN_S = 20;
const REBOOT_S = 20;

const upgrade: Scenario = {
  name: 'rolling-upgrade',
  about: 'edge and cloud nodes are drained for 20 s, restarted and taken back, one after the other; 60 % full',
  size: { nodes: 30, sessions: 100 },
  script(size, seed) {
    const { fleet, visitors } = populated(size, seed, 0.6);
    const servers = fleet.nodes.filter((one) => isEdge(one) || isCloud(one));
    const turnS = DRAIN_S + REBOOT_S;
    const events = servers.flatMap(({ node_id }, turn): WorldEvent[] => {
      const atS = SETTLED_S + turn * turnS;
      return [
        { atS, kind: 'drain', node_id },
        { atS: atS + DRAIN_S, kind: 'node_dies', node_id },
        { atS: atS + turnS - 2, kind: 'node_returns', node_id },
        { atS: atS + turnS, kind: 'undrain', node_id },
      ];
    });
    const durationS = SETTLED_S + turnS * servers.length + 20;
    return { fleet, visitors, events, durationS, windows: framesOf(size, 0, durationS) };
  },
};

const blind: Scenario = {
  name: 'coordinator-restarts',
  about:
    'telemetry is 5 s old and a tenth of it lost; the coordinator is away from 90 to 120 s, an edge node dies at 100 s; 80 % full',
  size: { nodes: 30, sessions: 100 },
  script(size, seed) {
    const durationS = 220;
    const { fleet, visitors } = populated(size, seed, 0.8);
    const { node_id } = fleet.nodes.filter(isEdge).sort((a, b) => b.gpus - a.gpus || b.cpu_cores - a.cpu_cores)[0]!;
    return {
      ...{ fleet, visitors, durationS, windows: framesOf(size, 0, durationS) },
      events: [
        { atS: 0, kind: 'stale_telemetry', delayS: 5, lostShare: 0.1 },
        { atS: SETTLED_S - 10, kind: 'coordinator_stops' },
        { atS: SETTLED_S, kind: 'node_dies', node_id },
        { atS: SETTLED_S + 20, kind: 'coordinator_starts' },
      ],
    };
  },
};

/** An hour; frames in every fifth minute, so that what is measured can make somebody move. */
const HOUR_S = 3600;
const windowsOfHour = () =>
  Array.from({ length: 12 }, (_, index) => ({ fromS: index * 300, untilS: index * 300 + 20 }));

/** What the arrivals left to improve has been improved. */
const QUIET_S = 600;

const quiet: Scenario = {
  name: 'quiet-hour',
  about:
    'nothing happens for an hour, moves are counted after ten minutes; frames in 20 s of every 5 minutes; the fleet is 80 % full',
  size: { nodes: 30, sessions: 100 },
  script(size, seed) {
    const { fleet, visitors } = populated(size, seed, 0.8);
    return { fleet, visitors, events: [], durationS: HOUR_S, settledS: QUIET_S, windows: windowsOfHour() };
  },
};

const noise: Scenario = {
  name: 'load-noise',
  about: 'from 300 s on every camera gives up to a tenth more or fewer frames, drawn anew each second; 80 % full',
  size: { nodes: 30, sessions: 100 },
  script(size, seed) {
    const durationS = 600;
    const settledS = 300;
    const { fleet, visitors } = populated(size, seed, 0.8);
    const events: WorldEvent[] = [{ atS: settledS, kind: 'rate_noise', share: 0.1 }];
    return { fleet, visitors, events, durationS, settledS, windows: framesOf(size, 0, durationS) };
  },
};

export const OPERATIONS: readonly Scenario[] = [handover, upgrade, blind, quiet, noise];
