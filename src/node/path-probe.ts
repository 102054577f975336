/**
 * Measures the path from this node to another one: the round trip by tiny requests on one warm connection, the rate by
 * bodies that grow until one took long enough to tell. One at a time, within PROBE_TIME_MS_MAX, and nothing is kept.
 * Surprising: the rate is that of the second half of a body, at the receiving end. The first half is sent while the
 * connection still feels its way, and would show its round trip more than the path's speed.
 */
import { randomBytes } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { createNodeClient, type NodeClient } from '../client/node-client.js';
import { OrchestratorError } from '../contracts/errors.js';
import { PROBE_BYTES_MAX, PROBE_TIME_MS_MAX } from '../contracts/limits.js';
import type { ProbeRequest, ProbeResult, ProbeSinkAnswer } from '../contracts/probe.js';

/** Requests whose shortest counts: what a busy agent or a queue adds to one it seldom adds to all. */
const RTT_ROUNDS = 5;

/** The first body, and how many times larger each next one is. */
const FIRST_BYTES = PROBE_BYTES_MAX / 16;
const GROWTH = 4;

/** A body that took this long tells the rate, ms: being late by 1 ms is then 2 % of it. */
const TELLING_MS = 50;
/** And this many round trips: a connection begins with 14 KB on the way and doubles that each time, to 450 KB in the sixth. */
const TELLING_ROUND_TRIPS = 6;

/** The second half of a body must have come within more than this to be a rate, ms. */
const HALF_MS_MIN = 0.5;

/** Bodies that a node takes at once; each is one of a probe. */
const SINKS_MAX = 2;

export interface PathProbeOptions {
  readonly token: string | null;
  readonly tlsCa?: string | undefined;
  now(): number;
}

export class PathProbe {
  readonly #options: PathProbeOptions;
  #busy: string | null = null;
  #sinks = 0;

  constructor(options: PathProbeOptions) {
    this.#options = options;
  }

  /** Throws PROBE_BUSY, NODE_UNREACHABLE, CONFIG_INVALID for an address that is none. */
  async measure({ url, bytes_max }: ProbeRequest): Promise<ProbeResult> {
    if (this.#busy !== null) throw busy(`this node measures its path to ${this.#busy}`);
    this.#busy = url;
    const { token, tlsCa, now } = this.#options;
    const endMs = now() + PROBE_TIME_MS_MAX;
    try {
      const client = createNodeClient({ url, token, tlsCa, timeoutMs: PROBE_TIME_MS_MAX / RTT_ROUNDS });
      try {
        const rtt_ms = await this.#roundTrip(client);
        return { rtt_ms, ...(await this.#rate(client, { rttMs: rtt_ms, bytesMax: bytes_max, endMs })) };
      } finally {
        await client.close();
      }
    } finally {
      this.#busy = null;
    }
  }

  /** Reads the body of a probe of `bytes` to its end. Throws PROBE_BUSY and REQUEST_TOO_LARGE before it is read. */
  async sink(request: IncomingMessage): Promise<ProbeSinkAnswer> {
    const bytes = Number(request.headers['content-length'] ?? Number.NaN);
    if (!(bytes <= PROBE_BYTES_MAX)) {
      const said = Number.isNaN(bytes) ? 'does not say its length' : `is ${bytes} bytes`;
      const message = `the body of a probe ${said}; it has at most ${PROBE_BYTES_MAX} bytes`;
      throw new OrchestratorError('REQUEST_TOO_LARGE', message, { bytes_max: PROBE_BYTES_MAX });
    }
    if (this.#sinks >= SINKS_MAX) throw busy(`${SINKS_MAX} nodes measure their path to this one`);
    this.#sinks += 1;
    try {
      return await readRate(request, bytes / 2, this.#options.now);
    } catch (error) {
      const message = `the body of a probe broke off: ${(error as Error).message}`;
      throw new OrchestratorError('REQUEST_INVALID', message, {}, { cause: error });
    } finally {
      this.#sinks -= 1;
    }
  }

  async #roundTrip(client: NodeClient): Promise<number> {
    await client.health();
    let shortestMs = Number.POSITIVE_INFINITY;
    for (let round = 0; round < RTT_ROUNDS; round++) {
      const sentMs = this.#options.now();
      await client.health();
      shortestMs = Math.min(shortestMs, this.#options.now() - sentMs);
    }
    return shortestMs;
  }

  async #rate(client: NodeClient, { rttMs, bytesMax, endMs }: { rttMs: number; bytesMax: number; endMs: number }) {
    const { now } = this.#options;
    const tellingMs = Math.max(TELLING_MS, TELLING_ROUND_TRIPS * rttMs);
    let mbit_per_s: number | null = null;
    let bytes = 0;
    for (let size = FIRST_BYTES; size <= bytesMax; size *= GROWTH) {
      const sentMs = now();
      if (sentMs >= endMs) break;
      bytes += size;
      const answer = await client.probeSink(randomBytes(size), { timeoutMs: Math.ceil(endMs - sentMs) }).catch(nothing);
      mbit_per_s = answer?.mbit_per_s ?? mbit_per_s;
      if (answer === null || now() - sentMs >= tellingMs) break;
    }
    return { mbit_per_s, bytes };
  }
}

/** The round trip is known by now: a body that does not get through in time, or that the other refuses, spoils nothing. */
function nothing(): null {
  return null;
}

function busy(why: string): OrchestratorError {
  return new OrchestratorError('PROBE_BUSY', `no probe now: ${why}`);
}

/** Bytes, and the rate of those that come after the first `half`. */
async function readRate(body: IncomingMessage, half: number, now: () => number): Promise<ProbeSinkAnswer> {
  let bytes = 0;
  let from: { readonly bytes: number; readonly atMs: number } | null = null;
  let atMs = now();
  for await (const chunk of body) {
    bytes += (chunk as Buffer).length;
    atMs = now();
    if (from === null && bytes >= half) from = { bytes, atMs };
  }
  const tookMs = from === null ? 0 : atMs - from.atMs;
  return { bytes, mbit_per_s: tookMs < HALF_MS_MIN ? null : ((bytes - from!.bytes) * 8) / (tookMs * 1000) };
}
