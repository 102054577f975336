/** Profiles read back from the database in the background: a decision never waits for a query. */
import type { Profile } from '../contracts/plan.js';
import type { Clock } from '../std/clock.js';
import type { Logger } from '../std/logger.js';
import type { TelemetryStore } from '../store/store.js';
import type { CoordinatorBounds } from './options.js';

export interface ProfileCacheOptions {
  readonly telemetry: Pick<TelemetryStore, 'profiles'> | null;
  readonly bounds: CoordinatorBounds;
  readonly clock: Clock;
  readonly logger: Logger;
}

export class ProfileCache {
  readonly #options: ProfileCacheOptions;
  #profiles: readonly Profile[] = [];
  #timer: NodeJS.Timeout | null = null;
  #closed = false;

  constructor(options: ProfileCacheOptions) {
    this.#options = options;
  }

  get current(): readonly Profile[] {
    return this.#profiles;
  }

  /** The first look is awaited: a coordinator that restarts places its first session with what was measured before. */
  async start(): Promise<void> {
    await this.#refresh();
  }

  close(): void {
    this.#closed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
  }

  async #refresh(): Promise<void> {
    const { telemetry, bounds, clock, logger } = this.#options;
    if (telemetry === null) return;
    try {
      this.#profiles = await telemetry.profiles(clock.now() - bounds.profileWindowS);
    } catch (error) {
      logger.warn({ err: error }, 'profiles cannot be read; those read before stay in use');
    }
    if (!this.#closed) this.#timer = setTimeout(() => void this.#refresh(), bounds.profilePeriodMs);
  }
}
