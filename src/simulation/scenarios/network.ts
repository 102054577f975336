/** 7 and 8: WAN links are cut, get slow, or follow a radio trace. */

import type { FleetSnapshot } from '../../contracts/fleet.js';
import type { Chance } from '../chance.js';
import { framesOf, populated, SETTLED_S } from '../fleets.js';
import type { Scenario, Visitor, WorldEvent } from '../scenario.js';

const DURATION_S = 220;
const CHANGE_S = 60;

/** The site that most cameras hang on. */
function fullestSite({ nodes, sites }: FleetSnapshot, visitors: readonly Visitor[]): string {
  const siteOf = new Map(nodes.map(({ node_id, site }) => [node_id, site]));
  const count = (site: string) => visitors.filter(({ session }) => siteOf.get(session.source_node) === site).length;
  return [...sites].sort((a, b) => count(b.site) - count(a.site))[0]!.site;
}

const partition: Scenario = {
  name: 'site-partition',
  about: 'the WAN link of the site with most cameras is cut for 60 s; orders reach its nodes another way; 60 % full',
  size: { nodes: 30, sessions: 100 },
  script(size, seed) {
    const { fleet, visitors } = populated(size, seed, 0.6);
    const where = { site: fullestSite(fleet, visitors) };
    return {
      ...{ fleet, visitors, durationS: DURATION_S, windows: framesOf(size, 0, DURATION_S) },
      events: [
        { atS: SETTLED_S, kind: 'link', where, share: 0, extraMs: 0 },
        { atS: SETTLED_S + CHANGE_S, kind: 'link', where, share: 1, extraMs: 0 },
      ],
    };
  },
};

const slowWan: Scenario = {
  name: 'slow-wan',
  about: 'every WAN link keeps half of its rate and takes 40 ms more for a round trip, for 60 s; 80 % full',
  size: { nodes: 30, sessions: 100 },
  script(size, seed) {
    const { fleet, visitors } = populated(size, seed, 0.8);
    const all = (atS: number, share: number, extraMs: number) =>
      fleet.sites.map(({ site }): WorldEvent => ({ atS, kind: 'link', where: { site }, share, extraMs }));
    return {
      ...{ fleet, visitors, durationS: DURATION_S, windows: framesOf(size, 0, DURATION_S) },
      events: [...all(SETTLED_S, 0.5, 20), ...all(SETTLED_S + CHANGE_S, 1, 0)],
    };
  },
};

/** A radio link is good, fair or poor; it changes after 5 s on average, to either other state. */
const RADIO = [
  { share: 1, extraMs: 0 },
  { share: 0.5, extraMs: 10 },
  { share: 0.15, extraMs: 40 },
] as const;
const RADIO_STAY_S = 5;

function radioTrace(node: number, chance: Chance): WorldEvent[] {
  const events: WorldEvent[] = [];
  let state = 0;
  for (let atS = chance.exponential(RADIO_STAY_S); atS < DURATION_S; atS += chance.exponential(RADIO_STAY_S)) {
    state = (state + chance.whole(1, RADIO.length - 1)) % RADIO.length;
    events.push({ atS, kind: 'link', where: { node }, ...RADIO[state]! });
  }
  return events;
}

const radio: Scenario = {
  name: 'radio-uplinks',
  about:
    'every third camera node hangs on a radio link that is good, fair (half, +10 ms) or poor (15 %, +40 ms); 60 % full',
  size: { nodes: 30, sessions: 100 },
  script(size, seed) {
    const { fleet, visitors, chance } = populated(size, seed, 0.6);
    const cameras = fleet.nodes.filter(({ labels }) => labels.includes('client'));
    const events = cameras.filter((_, index) => index % 3 === 0).flatMap(({ node_id }) => radioTrace(node_id, chance));
    return { fleet, visitors, events, durationS: DURATION_S, windows: framesOf(size, 0, DURATION_S) };
  },
};

export const NETWORK: readonly Scenario[] = [partition, slowWan, radio];
