/** Placements before and after a step of the planning loop: what has changed, and the way back. */
import type { FleetSearch } from './search.js';
import type { Placed } from './state.js';

/** By task; null = no place. */
export type Places = readonly (Placed | null)[];

export function isSame(a: Placed | null, b: Placed | null): boolean {
  if (a === b || a === null || b === null) return a === b;
  return (
    a.graph === b.graph &&
    a.nodes.every((node, at) => node === b.nodes[at]) &&
    a.options.every((option, at) => option === b.options[at])
  );
}

/** Tasks whose place is another now. */
export const changedFrom = (before: Places, now: Places): number[] =>
  before.flatMap((old, task) => (isSame(old, now[task] ?? null) ? [] : [task]));

export function restore(search: FleetSearch, before: Places): void {
  const { placed } = search.state;
  const changed = before.flatMap((old, task) => (old === placed[task] ? [] : [task]));
  for (const task of changed) if (placed[task] !== null) search.remove(task);
  for (const task of changed) if (before[task] !== null) search.keep(task, before[task]!);
}
