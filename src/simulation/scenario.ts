/** What a scenario is: a fleet, who comes and goes, and what happens to it. All of it drawn before the start, from one seed. */
import type { FleetSession, FleetSnapshot } from '../contracts/fleet.js';

export interface Size {
  readonly nodes: number;
  readonly sessions: number;
}

export interface Visitor {
  readonly session: FleetSession;
  readonly fromS: number;
  /** Infinity: stays. */
  readonly untilS: number;
}

type LinkRef = { readonly node: number } | { readonly site: string };

export type WorldEvent = { readonly atS: number } & (
  | { readonly kind: 'node_dies' | 'node_returns' | 'drain' | 'undrain'; readonly node_id: number }
  /** `share` of the rate is left, 0 = cut; both directions; one way `extraMs` longer. */
  | { readonly kind: 'link'; readonly where: LinkRef; readonly share: number; readonly extraMs: number }
  /** Work of a handler type, and what comes out of it, multiplied. */
  | { readonly kind: 'content'; readonly handler_type: number; readonly factor: number }
  /** A node gets slower and does not say so. */
  | { readonly kind: 'slow'; readonly node_id: number; readonly factor: number }
  | { readonly kind: 'camera_moves'; readonly session_id: number; readonly node_id: number }
  /** Every camera's rate, drawn anew each second: uniform in 1 - share .. 1 + share; 0 ends it. */
  | { readonly kind: 'rate_noise'; readonly share: number }
  | { readonly kind: 'coordinator_stops' | 'coordinator_starts' }
  /** What nodes measure is heard so much later, and a share of it not at all. */
  | { readonly kind: 'stale_telemetry'; readonly delayS: number; readonly lostShare: number }
);

/** Frames are simulated in it; outside only decisions. */
export interface Window {
  readonly fromS: number;
  readonly untilS: number;
}

export interface Script {
  /** Without sessions. */
  readonly fleet: FleetSnapshot;
  readonly visitors: readonly Visitor[];
  readonly events: readonly WorldEvent[];
  readonly windows: readonly Window[];
  readonly durationS: number;
  /** Moves are counted apart from here on; SETTLED_S when absent. */
  readonly settledS?: number;
}

export interface Scenario {
  readonly name: string;
  /** In one line. */
  readonly about: string;
  readonly size: Size;
  script(size: Size, seed: number): Script;
}
