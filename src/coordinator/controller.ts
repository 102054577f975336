/**
 * One of several coordinators on one database: leads while it holds the lease, and else says who does. Where the store is
 * one process's own (a file, memory) it leads at once and for ever.
 *
 * Invariant: one server listens as long as the process lives, and what it answers is a follower's or a leader's; changes
 * between the two are made one after the other. Nodes need not be told: they take nothing from an epoch
 * older than one that they have seen, and a new leader shows them its own with the first heartbeats.
 */
import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { httpUrl } from '../client/addresses.js';
import { toOrchestratorError } from '../contracts/errors.js';
import { createHttpServer, type HttpServer, type ListenAddress, listen } from '../http-server/http-server.js';
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

/** Between two tries to lead, ms: the database may be away. */
const RETRY_MS = 500;

/** Throws what `listen` throws; without a lease also what createCoordinator throws. */
export async function createController(options: ControllerOptions): Promise<Controller> {
  const { lease } = options.state;
  return lease === null ? createCoordinator(options) : LeasedController.start(options, lease);
}

class LeasedController implements Controller {
  readonly #options: ControllerOptions;
  readonly #front: Front;
  readonly #follower: HttpServer;
  readonly #election: Election;
  #leader: Coordinator | null = null;
  #turn: Promise<void> = Promise.resolve();
  #retry: NodeJS.Timeout | undefined;
  #closed = false;

  private constructor(options: ControllerOptions, lease: Lease, front: Front) {
    const { token, tls = null, logger, clock, advertisedUrl, election } = options;
    this.#options = options;
    this.#front = front;
    this.#election = new Election({
      ...{ lease, url: advertisedUrl ?? reachableUrl(front.address), holder: randomUUID(), clock, logger },
      bounds: { ...DEFAULT_ELECTION_BOUNDS, ...election },
      onChange: () => this.#change(),
    });
    this.#follower = createFollowerApi({ token, tls, logger, leader: () => this.#election.leader });
  }

  static async start(options: ControllerOptions, lease: Lease): Promise<LeasedController> {
    const controller = new LeasedController(options, lease, await Front.open(options));
    await controller.#front.serve(controller.#follower);
    controller.#election.start();
    return controller;
  }

  get address(): ListenAddress {
    return this.#front.address;
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#retry);
    await this.#turn;
    const led = this.#leader !== null;
    await this.#leader?.close();
    await this.#front.close();
    await this.#follower.close();
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
        this.#leader = await this.#lead();
        return;
      }
      const old = this.#leader;
      this.#leader = null;
      logger.warn({ leader: this.#election.leader }, 'another coordinator leads now');
      await this.#front.serve(this.#follower);
      await old?.close();
    } catch (error) {
      logger.error({ err: error }, toOrchestratorError(error).message);
      // A leader that could not begin has left an API that is closed.
      if (this.#leader === null) await this.#front.serve(this.#follower);
      this.#retry = setTimeout(() => this.#change(), RETRY_MS);
    }
  }

  #lead(): Promise<Coordinator> {
    const { holder, url } = this.#election;
    const lead = { holder, url, holds: () => this.#election.leads, serve: (app: HttpServer) => this.#front.serve(app) };
    return createCoordinator({ ...this.#options, lead });
  }
}

/** What listens, for as long as this process lives; requests go on to the API of the moment, their bodies unread. */
class Front {
  readonly address: ListenAddress;
  readonly #app: HttpServer;

  private constructor(
    app: HttpServer,
    address: ListenAddress,
    readonly serve: (app: HttpServer) => Promise<ListenAddress>,
  ) {
    this.#app = app;
    this.address = address;
  }

  static async open(options: ControllerOptions): Promise<Front> {
    const { tls = null, logger } = options;
    let current: HttpServer | null = null;
    // The token is asked for by the API that the request goes to.
    const app = createHttpServer({ token: null, tls, logger });
    app.addHook('onRequest', async (request, reply) => {
      reply.hijack();
      current?.routing(request.raw, reply.raw);
    });
    app.addHook('preClose', async () => app.server.closeAllConnections());
    const address = await listen(app, options);
    return new Front(app, address, async (next) => {
      await next.ready();
      current = next;
      return address;
    });
  }

  async close(): Promise<void> {
    await this.#app.close();
  }
}

/** One that listens on every address is told by the machine's name. */
function reachableUrl({ host, port, url }: ListenAddress): string {
  return host === '0.0.0.0' || host === '::' ? httpUrl(hostname(), port, url.startsWith('https:')) : url;
}
