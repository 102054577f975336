/** 2 and 3: sessions come and go. */
import { instanceOf } from '../../allocation/fleet/instances.js';
import { Chance } from '../chance.js';
import { ARRIVE_S, FULL_LOAD, framesOf, populated, SETTLED_S } from '../fleets.js';
import type { Scenario, Visitor } from '../scenario.js';

const DAY_S = 600;

/** Lengths of sessions: Pareto of shape 1.5, cut at the end of the run. */
const LENGTH_MEAN_S = 120;
const LENGTH_SHAPE = 1.5;

/** From the quiet of the night to the middle of the day the rate of arrivals rises fourfold. */
const NIGHT_SHARE = 0.25;

const diurnal: Scenario = {
  name: 'diurnal',
  about: 'Poisson arrivals over a day of 600 s, four times as many at noon as at night; lengths with a heavy tail',
  size: { nodes: 30, sessions: 400 },
  script(size, seed) {
    const chance = new Chance(seed * 13 + 1);
    const { sessions, ...fleet } = instanceOf({ ...size, seed, load: FULL_LOAD });
    const rateAt = (atS: number) => NIGHT_SHARE + (1 - NIGHT_SHARE) * Math.sin((Math.PI * atS) / DAY_S) ** 2;
    // Thinning: drawn at the rate of noon, kept by the share of it that the hour has.
    const noonIntervalS = (DAY_S * (1 + NIGHT_SHARE)) / 2 / size.sessions;
    const visitors: Visitor[] = [];
    for (let atS = 0; visitors.length < sessions.length; atS += chance.exponential(noonIntervalS)) {
      if (atS >= DAY_S) break;
      if (!chance.happens(rateAt(atS))) continue;
      const untilS = atS + chance.pareto(LENGTH_MEAN_S, LENGTH_SHAPE, DAY_S);
      visitors.push({ session: sessions[visitors.length]!, fromS: atS, untilS });
    }
    return {
      fleet: { ...fleet, sessions: [] },
      visitors,
      events: [],
      durationS: DAY_S,
      windows: framesOf(size, 0, DAY_S),
    };
  },
};

const CROWD_S = 10;
const CROWD_TIMES = 5;

const flashCrowd: Scenario = {
  name: 'flash-crowd',
  about: 'five times the sessions of one site come there within 10 s and go after 60 s; the fleet is half full before',
  size: { nodes: 30, sessions: 100 },
  script(size, seed) {
    const { fleet, visitors, chance } = populated(size, seed, 0.5);
    const siteOf = (node_id: number) => fleet.nodes.find((one) => one.node_id === node_id)!.site;
    const count = (site: string) => visitors.filter(({ session }) => siteOf(session.source_node) === site).length;
    const { site } = [...fleet.sites].sort((a, b) => count(b.site) - count(a.site))[0]!;
    const own = visitors.filter(({ session }) => siteOf(session.source_node) === site);
    const crowd = Array.from({ length: own.length * (CROWD_TIMES - 1) }, (_, index): Visitor => {
      const like = chance.pick(own).session;
      const fromS = SETTLED_S + chance.uniform(0, CROWD_S);
      return { session: { ...like, session_id: visitors.length + index }, fromS, untilS: SETTLED_S + CROWD_S + 60 };
    });
    const durationS = SETTLED_S + 140;
    const all = [...visitors, ...crowd];
    return { fleet, visitors: all, events: [], durationS, windows: framesOf(size, ARRIVE_S, durationS) };
  },
};

export const ARRIVALS: readonly Scenario[] = [diurnal, flashCrowd];
