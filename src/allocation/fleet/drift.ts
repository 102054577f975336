/**
 * Whether what plans are made of has changed so much that they should be looked at again: measured needs of handlers and
 * measured ways between nodes. Figures waver; only a change by more than the noise counts, and it counts once: what was
 * told becomes what later figures are compared with.
 */
import type { FleetPath } from '../../contracts/fleet.js';
import type { Profile } from '../../contracts/plan.js';
import type { LoopEvent } from './loop-rules.js';

/** Share by which a need must have changed: twice the noise of a profile. */
const NEED_SHARE = 0.2;

/** Share by which a way must have changed, and by how much at the least, ms: round trips waver more than work does. */
const PATH_SHARE = 0.5;
const PATH_MS = 5;

export class Drift {
  #needs = new Map<string, number>();
  #paths = new Map<string, FleetPath>();

  /** The first look at a figure is no change. */
  events(profiles: readonly Profile[], paths: readonly FleetPath[]): LoopEvent[] {
    return [
      ...(this.#needsChanged(profiles) ? [{ kind: 'profile_drift' as const }] : []),
      ...(this.#pathsChanged(paths) ? [{ kind: 'link_changed' as const }] : []),
    ];
  }

  #needsChanged(profiles: readonly Profile[]): boolean {
    let isChanged = false;
    const now = new Map(profiles.map((one) => [`${one.handler_type}|${one.key}|${one.node_id}`, one.service_ms]));
    for (const [key, needMs] of now) {
      const before = this.#needs.get(key);
      if (before === undefined || Math.abs(needMs - before) <= NEED_SHARE * before) now.set(key, before ?? needMs);
      else isChanged = true;
    }
    this.#needs = now;
    return isChanged;
  }

  #pathsChanged(paths: readonly FleetPath[]): boolean {
    let isChanged = false;
    const now = new Map(paths.map((one) => [`${one.source_node}>${one.target_node}`, one]));
    for (const [key, path] of now) {
      const before = this.#paths.get(key);
      if (before === undefined || !differs(before, path)) now.set(key, before ?? path);
      else isChanged = true;
    }
    this.#paths = now;
    return isChanged;
  }
}

function differs(before: FleetPath, now: FleetPath): boolean {
  const ms = Math.abs(now.latency_ms - before.latency_ms);
  return (
    ms > Math.max(PATH_MS, PATH_SHARE * before.latency_ms) ||
    Math.abs(now.mbit - before.mbit) > PATH_SHARE * before.mbit
  );
}
