/**
 * Prices of whole resources, from what a middling session of the snapshot takes of each kind. At scale 1 the last place
 * on a full resource costs such a session 1 of its 10 to 11 of utility. Planning starts dear, which spreads sessions and
 * makes room, and ends cheap, which lets accuracy rise into what is left: both matter more than any one value.
 */
import type { Fleet } from './model.js';
import type { State } from './state.js';

/** Scales between which a search moves down: from 1 it found two sessions less on some overloaded fleets than from 3. */
export const PRICE_SCALE_FIRST = 3;
export const PRICE_SCALE_LAST = 0.02;

/** Scale of steps that are to admit one more: 10 to 100 do the same, at the search's own one in a hundred stays out. */
export const PRICE_SCALE_ADMIT = 30;

/** Scale on an empty fleet at which sessions are placed one by one. */
export const PRICE_SCALE_EMPTY = 1;

/**
 * How many times dearer everything is on a full fleet than on an empty one when sessions are placed one by one: a share
 * of accuracy for more admitted. Measured at overload: 0 admits 80 of 100, 100 admits 90, 300 admits 92.5.
 */
const PRICE_SCALE_PRESSURE = 300;

/** Scale at which one is placed when nobody else is expected: what is free is there to be used. */
const PRICE_SCALE_CALM = 0.1;

/**
 * Scale at which a session is placed beside those that run, at a load 0..1 of the fleet. `expected`: how many are to be
 * expected before room can be made for them, as a share of those that run. Prices rise as these would take what is
 * free; without the number everybody is still to come.
 */
export function arrivalScale(load: number, expected?: number): number {
  if (expected === undefined) return PRICE_SCALE_EMPTY + PRICE_SCALE_PRESSURE * load;
  const taken = load >= 1 ? 1 : Math.min(1, (expected * load) / (1 - load));
  return PRICE_SCALE_CALM + PRICE_SCALE_PRESSURE * load * taken;
}

/** Memory does not queue: it is dear only when it is nearly gone. */
const MEMORY_SHARE = 0.3;

interface Needs {
  cpu: number;
  gpu: number;
  mem: number;
  mbit: number;
}

export function fullPrices(fleet: Fleet): Float64Array {
  const needs = middlingNeeds(fleet);
  const full = new Float64Array(fleet.resourceCount);
  for (let resource = 0; resource < full.length; resource++) {
    const capacity = fleet.capacity[resource]!;
    if (!(capacity > 0) || capacity === Number.POSITIVE_INFINITY) continue;
    const speed = resource < fleet.memAt ? fleet.nodes[resource % fleet.nodeCount]!.speed : 1;
    const need = needOf(fleet, resource, needs) / speed;
    if (need > 0) full[resource] = capacity / need;
  }
  return full;
}

/** Share of all CPU or of all GPUs that is taken, whichever is more, 0..1. */
export function loadOf({ fleet, totals }: State): number {
  const share = (used: number, capacity: number) => (capacity > 0 ? used / capacity : 0);
  return Math.max(share(totals.cpu, fleet.cpuTotal), share(totals.gpu, fleet.gpuTotal));
}

function needOf(fleet: Fleet, resource: number, { cpu, gpu, mem, mbit }: Needs): number {
  if (resource < fleet.gpuAt) return cpu;
  if (resource < fleet.memAt) return gpu;
  return resource < fleet.upAt ? mem / MEMORY_SHARE : mbit;
}

/** Mean over sessions of the mean over alternatives, at speed 1; traffic is that of the thinnest link of each. */
function middlingNeeds(fleet: Fleet): Needs {
  const sum: Needs = { cpu: 0, gpu: 0, mem: 0, mbit: 0 };
  for (const task of fleet.tasks) {
    const graph = task.graphs[0];
    if (graph === undefined) continue;
    for (const { alternatives } of graph.handlers) {
      for (const { cost } of alternatives) {
        sum.cpu += (task.fps * cost.cpu_ms) / alternatives.length;
        sum.gpu += (task.fps * cost.gpu_ms) / alternatives.length;
        sum.mem += cost.mem_mb / alternatives.length;
      }
    }
    const sizes = graph.handlers.map(({ alternatives }) => Math.max(...alternatives.map((one) => one.cost.out_bytes)));
    const packets = sizes.filter((bytes) => bytes > 0).sort((a, b) => a - b);
    sum.mbit += (task.fps * (packets[packets.length >> 1] ?? 0) * 8) / 1e6;
  }
  const count = Math.max(1, fleet.tasks.length);
  return { cpu: sum.cpu / count, gpu: sum.gpu / count, mem: sum.mem / count, mbit: sum.mbit / count };
}
