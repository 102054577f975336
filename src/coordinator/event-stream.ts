/**
 * Events as server-sent events (WHATWG HTML, section 9.2). Invariant: a reader that does not read costs a bounded
 * amount of memory and is then cut off; it may come again with `after`, nothing is lost in the store.
 */
import type { ServerResponse } from 'node:http';
import type { FastifyReply } from 'fastify';
import { OrchestratorError } from '../contracts/errors.js';
import type { OrchestratorEvent } from '../contracts/event.js';
import type { EventLog } from './event-log.js';

/** Bytes that may wait for one reader: thousands of events. */
const WAITING_BYTES_MAX = 1024 * 1024;

/** Readers at a time: pages and command lines of a whole team. */
const READERS_MAX = 64;

/** Between two comments on a silent stream, ms: proxies cut what is silent for a minute. */
const COMMENT_PERIOD_MS = 15_000;

/** Events from the past that a reader is given first. */
const BACKLOG_EVENTS_MAX = 1_000;

export class EventStreams {
  readonly #events: EventLog;
  readonly #readers = new Set<ServerResponse>();

  constructor(events: EventLog) {
    this.#events = events;
  }

  /** Takes the reply over: events later than `after` (s since the epoch), then those that come. */
  async serve(reply: FastifyReply, after: number | undefined): Promise<void> {
    if (this.#readers.size >= READERS_MAX) {
      throw new OrchestratorError(
        'LINK_BUSY',
        `${this.#readers.size} readers follow the events, the most there may be`,
      );
    }
    const waiting: OrchestratorEvent[] = [];
    let send = (event: OrchestratorEvent): void => void waiting.push(event);
    const unfollow = this.#events.follow((event) => send(event));
    let past: OrchestratorEvent[] = [];
    try {
      if (after !== undefined) past = await this.#past(after, waiting);
    } catch (error) {
      unfollow();
      throw error;
    }
    reply.hijack();
    const response = reply.raw;
    response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
    this.#readers.add(response);
    const write = (text: string): void => {
      response.write(text);
      if (response.writableLength > WAITING_BYTES_MAX) response.destroy();
    };
    send = (event) => write(`event: ${event.kind}\ndata: ${JSON.stringify(event)}\n\n`);
    write(': events\n\n');
    for (const event of [...past, ...waiting]) send(event);
    const comment = setInterval(() => write(': still here\n\n'), COMMENT_PERIOD_MS);
    response.on('error', () => response.destroy());
    response.on('close', () => {
      clearInterval(comment);
      unfollow();
      this.#readers.delete(response);
    });
  }

  close(): void {
    for (const response of this.#readers) response.end();
  }

  /** Those that came while the store was read are in `waiting` as well. */
  async #past(after: number, waiting: readonly OrchestratorEvent[]): Promise<OrchestratorEvent[]> {
    const stored = await this.#events.list({ since: after, limit: BACKLOG_EVENTS_MAX });
    const texts = new Set(waiting.map((event) => JSON.stringify(event)));
    return stored.filter((event) => event.timestamp > after && !texts.has(JSON.stringify(event)));
  }
}
