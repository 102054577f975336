/**
 * Connections that wait for the handler host that they are for, which is being made or started again: who dialled has it
 * the moment it serves, instead of trying again and again.
 * Invariants: at most HELD_MAX wait, each for a bounded time; what comes on a connection meanwhile is handed over with it;
 * one that its dialler has closed is let go.
 */
import type { Duplex } from 'node:stream';
import { OrchestratorError, toOrchestratorError } from '../contracts/errors.js';
import { HANDSHAKE_BYTES_MAX } from '../links/link.js';

/** The links of a hundred sessions that come to one node at once. */
const HELD_MAX = 256;

export interface HeldUpgradesOptions {
  /** How long each may wait, ms. */
  readonly holdMs: number;
  /** Calls `listener` whenever a host may serve that did not, or is gone; returns how to end that. */
  watch(listener: () => void): () => void;
}

export interface HeldUpgrade<T> {
  readonly socket: Duplex;
  /** Throws LINK_BUSY as long as there is something to wait for. */
  find(): T;
  /** `early`: what was read meanwhile. In the same turn of the event loop, because nobody reads any more. */
  give(found: T, early: Buffer): void;
  refuse(error: OrchestratorError): void;
}

export class HeldUpgrades {
  readonly #options: HeldUpgradesOptions;
  #held = 0;

  constructor(options: HeldUpgradesOptions) {
    this.#options = options;
  }

  /** Gives the connection at once, or when it can be, or refuses it. */
  take<T>(upgrade: HeldUpgrade<T>): void {
    const { give, refuse } = upgrade;
    const found = look(upgrade);
    if (!(found instanceof OrchestratorError)) give(found, Buffer.alloc(0));
    else if (found.code === 'LINK_BUSY' && this.#held < HELD_MAX) this.#hold(upgrade, found);
    else refuse(found);
  }

  #hold<T>(upgrade: HeldUpgrade<T>, busy: OrchestratorError): void {
    const { socket, give, refuse } = upgrade;
    const early: Buffer[] = [];
    let earlyBytes = 0;
    const keep = (chunk: Buffer): void => {
      early.push(chunk);
      earlyBytes += chunk.length;
      if (earlyBytes > HANDSHAKE_BYTES_MAX) socket.destroy();
    };
    const closed = (): void => {
      socket.destroy();
      end();
    };
    const end = (): void => {
      this.#held -= 1;
      clearTimeout(timer);
      unwatch();
      socket.off('data', keep).off('end', closed).off('close', closed).pause();
    };
    const unwatch = this.#options.watch(() => {
      const found = look(upgrade);
      if (found instanceof OrchestratorError && found.code === 'LINK_BUSY') return;
      end();
      if (found instanceof OrchestratorError) refuse(found);
      else give(found, Buffer.concat(early));
    });
    const timer = setTimeout(() => {
      end();
      refuse(busy);
    }, this.#options.holdMs);
    this.#held += 1;
    socket.on('data', keep).on('end', closed).on('close', closed);
  }
}

function look<T>({ find }: HeldUpgrade<T>): T | OrchestratorError {
  try {
    return find();
  } catch (error) {
    return toOrchestratorError(error);
  }
}
