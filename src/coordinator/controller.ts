/**
 * One of several coordinators on one database: leads while it holds the lease, and else says who does. Where the store is
 * one process's own (a file, memory) it leads at once and for ever.
 *
 * Invariant: at most one of follower's and leader's API listens, always on the same port; a change ends one before it
 * begins the other, and changes are made one after the other. Nodes need not be told: they take nothing from an epoch
 * older than one that they have seen, and a new leader shows them its own with the first heartbeats.
 */
import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { httpUrl } from '../client/addresses.js';
import { toOrchestratorError } from '../contracts/errors.js';
import { type ListenAddress, listen } from '../http-server/http-server.js';
import type { Lease } from '../store/lease.js';
import { type Coordinator, createCoordinator } from './coordinator.js';
import { DEFAULT_ELECTION_BOUNDS, Election, type ElectionBounds } from './election.js';
import { createFollowerApi } from './follower-api.js';
import type { CoordinatorOptions } from './options.js';

export interface ControllerOptions extends CoordinatorOptions {
  /** Where clients reach this coordinator, told by the others; null: where it listens. */
  readonly advertisedUrl: string | null;
  readonly election?: Partial<ElectionBounds>;
}

export interface Controller {
  readonly address: ListenAddress;
  close(): Promise<void>;
}

/** Between two tries to lead, ms: the database may be away, or a port not free yet. */
const RETRY_MS = 500;

/** Throws what `listen` throws; without a lease also what createCoordinator throws. */
export async function createController(options: ControllerOptions): Promise<Controller> {
  const { lease } = options.state;
  return lease === null ? createCoordinator(options) : LeasedController.start(options, lease);
}

class LeasedController implements Controller {
  readonly #options: ControllerOptions;
  #address!: ListenAddress;
  #election!: Election;
  #follower: { close(): Promise<void> } | null = null;
  #leader: Coordinator | null = null;
  #turn: Promise<void> = Promise.resolve();
  #retry: NodeJS.Timeout | undefined;
  #closed = false;

  private constructor(options: ControllerOptions) {
    this.#options = options;
  }

  static async start(options: ControllerOptions, lease: Lease): Promise<LeasedController> {
    const controller = new LeasedController(options);
    controller.#address = await controller.#follow(options.port);
    const url = options.advertisedUrl ?? reachableUrl(controller.#address);
    controller.#election = new Election({
      ...{ lease, url, holder: randomUUID(), clock: options.clock, logger: options.logger },
      bounds: { ...DEFAULT_ELECTION_BOUNDS, ...options.election },
      onChange: () => controller.#change(),
    });
    controller.#election.start();
    return controller;
  }

  get address(): ListenAddress {
    return this.#address;
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#retry);
    await this.#turn;
    const led = this.#leader !== null;
    await this.#leader?.close();
    await this.#follower?.close();
    await this.#election.close();
    if (led) await this.#election.release();
  }

  #change(): void {
    clearTimeout(this.#retry);
    this.#turn = this.#turn.then(() => this.#settle());
  }

  /** Makes this process what the lease says. */
  async #settle(): Promise<void> {
    const { logger } = this.#options;
    if (this.#closed || this.#election.isLeader === (this.#leader !== null)) return;
    try {
      if (this.#election.isLeader) {
        await this.#follower?.close();
        this.#follower = null;
        this.#leader = await this.#lead();
        return;
      }
      await this.#leader?.close();
      this.#leader = null;
      logger.warn({ leader: this.#election.leader }, 'another coordinator leads now');
      await this.#follow(this.#address.port);
    } catch (error) {
      logger.error({ err: error }, toOrchestratorError(error).message);
      if (this.#leader === null && this.#follower === null) await this.#follow(this.#address.port).catch(() => {});
      this.#retry = setTimeout(() => this.#change(), RETRY_MS);
    }
  }

  #lead(): Promise<Coordinator> {
    const { holder, url } = this.#election;
    const lead = { holder, url, holds: () => this.#election.leads };
    return createCoordinator({ ...this.#options, port: this.#address.port, lead });
  }

  async #follow(port: number): Promise<ListenAddress> {
    const { token, logger, tls = null } = this.#options;
    const app = createFollowerApi({ token, tls, logger, leader: () => this.#election?.leader ?? null });
    const address = await listen(app, { ...this.#options, port });
    this.#follower = { close: () => app.close() };
    return address;
  }
}

/** One that listens on every address is told by the machine's name. */
function reachableUrl({ host, port, url }: ListenAddress): string {
  return host === '0.0.0.0' || host === '::' ? httpUrl(hostname(), port, url.startsWith('https:')) : url;
}
