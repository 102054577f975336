/**
 * The links of a handler host: makes, retargets and removes both ends as the configuration says, and gives sockets that
 * peers opened to the end that they are for.
 *
 * Links to other hosts are opened on `start`, not before: a host that is to replace another takes its links over only
 * when everything is ready. Usually the receiving end dials; a link that is `awaited` is dialled by its sending end, whose
 * host has `push` for it.
 */
import type { Socket } from 'node:net';
import { OrchestratorError } from '../contracts/errors.js';
import { type LinkHeaders, refuseUpgrade } from '../links/handshake.js';
import type { Dial } from '../links/link.js';
import { LinkReceiver } from '../links/link-receiver.js';
import type { LinkSender } from '../links/link-sender.js';
import { memoryDial } from '../links/memory-link.js';
import { AwaitedLink, LinkPusher } from '../links/push.js';
import { acceptLink, socketDial } from '../links/upgrade.js';
import type { Clock } from '../std/clock.js';
import type { Logger } from '../std/logger.js';
import type { HostedHandler, InputLink } from './host-handler.js';
import { type HostConfig, type HostLink, type LinkAddress, linkPath } from './host-protocol.js';
import { linkKey } from './outputs.js';
import { HandlerRunner } from './runner.js';

export interface HostLinksOptions {
  readonly handlers: ReadonlyMap<number, HostedHandler>;
  readonly clock: Clock;
  readonly logger: Logger;
  /** A link to another node was cut, or that node does not answer on it. */
  onSuspect(node_id: number): void;
}

export class HostLinks {
  readonly #options: HostLinksOptions;
  /** Links that the sending end dials, by path: those that come in, and those that go out. */
  readonly #awaited = new Map<string, AwaitedLink>();
  readonly #pushers = new Map<string, { readonly pusher: LinkPusher; readonly address: string }>();
  #sessionId = -1;
  /** As they were configured last, by linkKey. */
  #configured = new Map<string, HostLink>();
  #nodeId = -1;
  #started = false;

  constructor(options: HostLinksOptions) {
    this.#options = options;
  }

  /** Sending ends first, so that links within this host find them. */
  apply(config: HostConfig): void {
    const { handlers } = this.#options;
    this.#sessionId = config.session_id;
    this.#nodeId = config.node_id;
    this.#configured = new Map(config.links.map((link) => [linkKey(link), link]));
    this.#removeOthers(config);
    for (const link of config.links) {
      const source = handlers.get(link.source_handler);
      if (source !== undefined) this.#applyOutput(source, link, config);
    }
    for (const link of config.links) {
      const target = handlers.get(link.target_handler);
      if (target !== undefined) this.#applyInput(target, link, config);
    }
  }

  /** Opens the links to other hosts. */
  start(): void {
    this.#started = true;
    for (const { inputs } of this.#options.handlers.values()) {
      for (const { receiver } of inputs.values()) receiver.start();
    }
    for (const { pusher } of this.#pushers.values()) pusher.start();
  }

  close(): void {
    for (const { pusher } of this.#pushers.values()) pusher.close();
    this.#pushers.clear();
  }

  /**
   * The host drains: links that their senders dial are let go, so that they dial the host that takes over; when there is
   * one (`replaced`), those that it dials itself are not dialled again once it has them.
   */
  release(replaced: boolean): void {
    for (const { link, receiver } of this.#incoming()) {
      if (link.awaited === true) receiver.close();
      else if (replaced) receiver.leave();
    }
    this.#awaited.clear();
  }

  /** Whether nothing can come in any more. */
  get areCut(): boolean {
    return this.#incoming().every(({ receiver }) => !receiver.connected);
  }

  /** Those from other hosts. */
  #incoming(): InputLink[] {
    const { handlers } = this.#options;
    const inputs = [...handlers.values()].flatMap((one) => [...one.inputs.values()]);
    return inputs.filter(({ link }) => !handlers.has(link.source_handler));
  }

  /** A peer's upgrade request for `path`. */
  accept(path: string, headers: LinkHeaders, socket: Socket, head: Buffer): void {
    const served = { socket, headers, head, clock: this.#options.clock };
    const isSender = headers['x-link-role'] === 'sender';
    const awaited = isSender ? this.#awaited.get(path) : undefined;
    const sender = isSender ? undefined : this.#senderAt(path);
    if (awaited !== undefined) awaited.accept(served);
    else if (sender !== undefined) acceptLink({ ...served, sender });
    else {
      const end = isSender ? 'input of this host waits for a sender' : 'output of this host is';
      refuseUpgrade(socket, new OrchestratorError('HANDLER_NOT_FOUND', `no ${end} at ${path}`));
    }
  }

  #senderAt(path: string): LinkSender | undefined {
    for (const { runner } of this.#options.handlers.values()) {
      const link = runner.outputs.links().find((one) => linkPath(this.#sessionId, one) === path);
      if (link !== undefined) return runner.outputs.find(link);
    }
    return undefined;
  }

  /** The other end of a link may be gone. A host of this node has its agent to look after it. */
  #doubt(key: string, end: 'source_node' | 'target_node'): void {
    const nodeId = this.#configured.get(key)?.[end];
    if (nodeId !== undefined && nodeId !== this.#nodeId) this.#options.onSuspect(nodeId);
  }

  #removeOthers(config: HostConfig): void {
    const wanted = new Set(config.links.map(linkKey));
    for (const { inputs, runner } of this.#options.handlers.values()) {
      for (const [key, { receiver, link }] of inputs) {
        if (wanted.has(key)) continue;
        receiver.close();
        inputs.delete(key);
        this.#awaited.delete(linkPath(config.session_id, link));
        if (runner instanceof HandlerRunner) runner.setInput(link.target_input, undefined);
      }
      for (const link of runner.outputs.links()) if (!wanted.has(linkKey(link))) runner.outputs.remove(link);
    }
    for (const key of this.#pushers.keys()) if (!wanted.has(key)) this.#stopPushing(key);
  }

  #applyOutput(source: HostedHandler, link: HostLink, config: HostConfig): void {
    const { outputs } = source.runner;
    const path = linkPath(config.session_id, link);
    const key = linkKey(link);
    const sender = outputs.find(link) ?? outputs.add(link, () => this.#doubt(key, 'target_node'));
    const address = JSON.stringify(link.push ?? null);
    const known = this.#pushers.get(key);
    if (known?.address === address) {
      known.pusher.setGeneration(config.generation);
      return;
    }
    this.#stopPushing(key);
    if (link.push === undefined) return;
    const { clock, logger } = this.#options;
    const pusher = new LinkPusher({
      ...{ sender, clock, path, address: link.push, token: tokenFor(link.push, config), tlsCa: config.tlsCa },
      generation: config.generation,
      onProblem: (reason) => logger.warn({ ...link, reason }, 'link is down'),
    });
    this.#pushers.set(key, { pusher, address });
    if (this.#started) pusher.start();
  }

  #stopPushing(key: string): void {
    this.#pushers.get(key)?.pusher.close();
    this.#pushers.delete(key);
  }

  #applyInput(target: HostedHandler, link: HostLink, config: HostConfig): void {
    const { runner, inputs } = target;
    if (!(runner instanceof HandlerRunner)) return;
    const { handlers, clock, logger } = this.#options;
    const key = linkKey(link);
    const isLocal = handlers.has(link.source_handler);
    const dialled = isLocal ? 'in_host' : JSON.stringify([link.dial ?? null, link.awaited === true]);
    const known = inputs.get(key);
    if (known !== undefined) {
      known.receiver.setGeneration(config.generation);
      if (known.dialled === dialled) return;
      known.receiver.retarget(this.#dialOf(link, config));
      inputs.set(key, { ...known, link, dialled });
      return;
    }
    const receiver = new LinkReceiver({
      ...{ link, clock, logger, generation: config.generation },
      delivery: link.delivery ?? config.delivery,
      dial: this.#dialOf(link, config),
      settled: runner.startsAfter,
      onPacket: (packet, arrival) => runner.accept(link.target_input, packet, arrival),
      onFloor: (settled) => runner.raiseFloor(settled),
      onDoubt: () => this.#doubt(key, 'source_node'),
    });
    inputs.set(key, { link, receiver, dialled });
    runner.setInput(link.target_input, receiver);
    if (isLocal || this.#started) receiver.start();
  }

  #dialOf(link: HostLink, config: HostConfig): Dial {
    const { handlers, clock } = this.#options;
    const path = linkPath(config.session_id, link);
    this.#awaited.delete(path);
    const source = handlers.get(link.source_handler);
    if (source !== undefined) return memoryDial({ find: () => source.runner.outputs.find(link), clock });
    if (link.awaited === true) {
      const awaited = new AwaitedLink({ clock });
      this.#awaited.set(path, awaited);
      return awaited.dial;
    }
    if (link.dial === undefined) {
      throw new OrchestratorError('LINK_UNKNOWN_HANDLER', `link ${linkKey(link)} has no address to dial`, { link });
    }
    const { tlsCa } = config;
    return socketDial({ address: link.dial, path, token: tokenFor(link.dial, config), tlsCa, clock });
  }
}

/** A Unix socket of a neighbour is guarded by its directory; only other nodes are shown the token. */
function tokenFor(address: LinkAddress, config: HostConfig): string | null {
  return address.kind === 'unix' ? null : config.token;
}
