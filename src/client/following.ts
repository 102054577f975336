/**
 * A client of several coordinators, of which one leads: it asks the one that answered last, goes where a follower says
 * that the leader is, and tries the others when one cannot be reached. Invariant: a request that may have been taken is
 * not repeated unless repeating it is harmless (everything but POST).
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { OrchestratorError } from '../contracts/errors.js';
import {
  createHttpClient,
  type HttpClient,
  type HttpClientOptions,
  REQUEST_TIMEOUT_MS,
  unreachableCause,
} from './http.js';

/** How long a leader is looked for, ms: an election and the start of the new leader take up to 3 s. */
export const FOLLOW_MS_MAX = 8_000;
const PAUSE_MS = 100;
/** Of a question that may be asked again elsewhere, ms: a coordinator that is stopped takes connections all the same. */
const QUESTION_MS_MAX = 2_500;
/** Leaders that were named and are not in the list. */
const NAMED_MAX = 8;

/** Causes by which a request cannot have been taken. */
const NOT_TAKEN = new Set(['ECONNREFUSED', 'EHOSTUNREACH', 'ENETUNREACH', 'ENOTFOUND', 'UND_ERR_CONNECT_TIMEOUT']);

export interface FollowingClientOptions extends Omit<HttpClientOptions, 'url'> {
  /** At least one. */
  readonly urls: readonly string[];
}

export function createFollowingClient({ urls, ...options }: FollowingClientOptions): HttpClient {
  const clients = new Map(urls.map((url) => [url, createHttpClient({ ...options, url })]));
  let current = [...clients.keys()][0]!;

  const next = () => {
    const all = [...clients.keys()];
    current = all[(all.indexOf(current) + 1) % all.length]!;
  };
  const goTo = (leader: unknown) => {
    if (typeof leader !== 'string' || leader === current) return next();
    if (!clients.has(leader)) {
      if (clients.size >= urls.length + NAMED_MAX) return next();
      clients.set(leader, createHttpClient({ ...options, url: leader }));
    }
    current = leader;
  };
  const mayAskAgain = (error: unknown, harmless: boolean): boolean => {
    const cause = unreachableCause(error);
    return urls.length > 1 && cause !== undefined && cause !== 'answer' && (harmless || NOT_TAKEN.has(cause));
  };

  /** Asks until one that leads has answered, or the time is over. */
  async function following<T>(harmless: boolean, ask: (client: HttpClient) => Promise<T>): Promise<T> {
    const deadline = performance.now() + FOLLOW_MS_MAX;
    for (let asked = 1; ; asked++) {
      try {
        return await ask(clients.get(current)!);
      } catch (error) {
        const follows = error instanceof OrchestratorError && error.code === 'NOT_LEADER';
        if ((!follows && !mayAskAgain(error, harmless)) || performance.now() > deadline) throw error;
        if (follows) goTo(error.context.leader);
        else next();
        if (!follows || asked > 1) await sleep(PAUSE_MS);
      }
    }
  }

  return {
    get url() {
      return current;
    },
    request(method, path, given = {}) {
      const harmless = method !== 'POST';
      const wanted = given.timeoutMs ?? options.timeoutMs ?? REQUEST_TIMEOUT_MS;
      const timeoutMs = harmless && urls.length > 1 ? Math.min(wanted, QUESTION_MS_MAX) : wanted;
      return following(harmless, (client) => client.request(method, path, { ...given, timeoutMs }));
    },
    stream: (path, given) => following(true, (client) => client.stream(path, given)),
    async close() {
      await Promise.all([...clients.values()].map((client) => client.close()));
    },
  };
}
