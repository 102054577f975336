/** Of the independent check: what a handler needs on its node, as it was measured there or else as declared. No code of the planners. */
import type { FleetAlternative, FleetHandler, FleetNode } from '../../contracts/fleet.js';
import { type Profile, profileKey } from '../../contracts/plan.js';
import { PROFILE_SAMPLES_MIN } from '../bounds.js';

/** One handler of one session on its node. */
export interface Placed {
  readonly handler: FleetHandler;
  readonly alternative: FleetAlternative;
  readonly node: FleetNode;
}

/** With what a packet needs there. */
export interface Stage extends Placed {
  readonly serviceMs: number;
  readonly cpuMs: number;
  readonly gpuMs: number;
  readonly bytes: number;
}

/** Of one alternative of one handler. */
interface Known {
  /** What is loaded for it, in one word. */
  readonly model: string;
  /** By node_id. */
  readonly profiles: ReadonlyMap<number, Profile> | undefined;
}

export class Needs {
  /** By handler type and parameters, then by node_id. */
  readonly #profiles = new Map<string, Map<number, Profile>>();
  readonly #known = new Map<FleetHandler, Map<FleetAlternative, Known>>();

  constructor(profiles: readonly Profile[]) {
    for (const profile of profiles) {
      const key = `${profile.handler_type} ${profile.key}`;
      const there = this.#profiles.get(key) ?? new Map<number, Profile>();
      this.#profiles.set(key, there.set(profile.node_id, profile));
    }
  }

  of({ handler, alternative, node }: Placed): Stage {
    const known = this.#knownOf(handler, alternative).profiles?.get(node.node_id);
    const profile = known !== undefined && known.samples >= PROFILE_SAMPLES_MIN ? known : undefined;
    const { cost } = alternative;
    return {
      handler,
      alternative,
      node,
      serviceMs: profile?.service_ms ?? cost.cpu_ms / node.speed + cost.gpu_ms / node.speed,
      cpuMs: profile?.cpu_ms ?? cost.cpu_ms / node.speed,
      gpuMs: cost.gpu_ms / node.speed,
      bytes: profile?.out_bytes ?? cost.out_bytes,
    };
  }

  /** Sessions that name the same one share what is loaded on a node. */
  modelOf({ handler, alternative }: Placed): string {
    return this.#knownOf(handler, alternative).model;
  }

  #knownOf(handler: FleetHandler, alternative: FleetAlternative): Known {
    let ofHandler = this.#known.get(handler);
    if (ofHandler === undefined) {
      ofHandler = new Map();
      this.#known.set(handler, ofHandler);
    }
    let known = ofHandler.get(alternative);
    if (known === undefined) {
      const key = `${handler.handler_type} ${profileKey(alternative.params)}`;
      known = { model: `${key} ${alternative.name}`, profiles: this.#profiles.get(key) };
      ofHandler.set(alternative, known);
    }
    return known;
  }
}
