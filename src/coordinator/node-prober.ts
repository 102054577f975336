/**
 * Asks one node for its heartbeat, again and again, and decides whether it is there.
 *
 *     unknown --answers--> up --silent, or fails twice in a row--> lost --answers--> up
 *
 * unknown  it has never answered this coordinator; after a grace it is `missing`, which re-places its sessions too
 * up       its newest heartbeat is at most a period and a time-out old
 * lost     it was up and does not answer; what it runs is not known
 *
 * Three ways to be lost: a question that stays unanswered while the machine takes no connection either, tried twice (it is
 * gone); no answer for longer although it does (its agent hangs); or a failure that comes at once (connection refused: the
 * process is gone), confirmed by a second question right away. A connection that closes is a reason to ask now.
 * Surprising: a time-out that fires much later than it was set says that this process was held up, not the node; such
 * a time-out is not counted.
 */

import { unreachableCause } from '../client/http.js';
import type { NodeClient } from '../client/node-client.js';
import { OrchestratorError, toOrchestratorError } from '../contracts/errors.js';
import type { Heartbeat, HeartbeatQuery, NodeFacts, NodeFile, NodeState, ObservedSession } from '../contracts/node.js';
import type { Clock } from '../std/clock.js';
import { ClockEstimate } from './clock-estimate.js';
import { type MachineWatch, watchMachine } from './machine-watch.js';
import type { CoordinatorBounds } from './options.js';

/** A timer that is this late means that the process was held up, ms. */
const STALL_MS = 200;

/** Time-outs in a row that may be put down to a stall: a process that is always held up must still lose nodes. */
const STALLS_MAX = 3;

export interface NodeStatus {
  state: NodeState;
  /** Never answered, and the grace is over. */
  missing: boolean;
  /** Wall clock of the newest answer, s; of an earlier coordinator's when this one got none. */
  lastSeen: number | null;
  facts: NodeFacts | null;
  /** Highest coordinator epoch that it has seen. */
  epoch: number;
  sessions: Map<number, ObservedSession>;
  /** How it was lost, in a word or two: `silent 1.0 s`. */
  why: string;
  /** Why it does not answer, as the last failure says. */
  problem: string | null;
  readonly clock: ClockEstimate;
  /** Percent of its machine's cores that are busy; null when it does not tell. */
  cpuUtil: number | null;
  /** What the node subtracts from its clock, ms. */
  clockCorrectionMs: number | null;
}

export interface NodeProberOptions {
  readonly file: NodeFile;
  readonly client: Pick<NodeClient, 'heartbeat' | 'reachable'>;
  readonly bounds: CoordinatorBounds;
  readonly clock: Clock;
  /** Fencing number of this coordinator; null while it is not known yet. */
  epoch(): number | null;
  change(kind: 'up' | 'lost' | 'missing' | 'heartbeat'): void;
}

type Outcome =
  | { readonly ok: true; readonly heartbeat: Heartbeat; readonly sentMs: number }
  | { readonly ok: false; readonly error: OrchestratorError; readonly tookMs: number };

export class NodeProber {
  readonly status: NodeStatus = {
    state: 'unknown',
    missing: false,
    lastSeen: null,
    facts: null,
    epoch: 0,
    sessions: new Map(),
    why: '',
    problem: null,
    clock: new ClockEstimate(),
    cpuUtil: null,
    clockCorrectionMs: null,
  };
  readonly #options: NodeProberOptions;
  readonly #notes = new Map<number, { readonly atMs: number; readonly observed: ObservedSession }>();
  #startedMs = 0;
  #hurryUntilMs = 0;
  #stalls = 0;
  /** It is to be asked now. */
  #due = false;
  /** Something says that it may be gone. */
  #suspected = false;
  #machine: MachineWatch | null = null;
  #answeredMs = 0;
  #closed = false;
  #wake: (() => void) | null = null;

  constructor(options: NodeProberOptions) {
    this.#options = options;
  }

  /** What the store knows from before; the first answer replaces it. */
  remember(lastSeen: number, facts: NodeFacts | null): void {
    this.status.lastSeen = lastSeen;
    this.status.facts = facts;
  }

  /** Resolves after the first question; goes on until `close`. */
  async start(): Promise<void> {
    this.#startedMs = this.#options.clock.monotonicMs();
    await this.#probe();
    void this.#loop();
  }

  hurry(forMs: number): void {
    const nowMs = this.#options.clock.monotonicMs();
    const wasHurried = nowMs < this.#hurryUntilMs;
    this.#hurryUntilMs = Math.max(this.#hurryUntilMs, nowMs + forMs);
    if (!wasHurried) this.#wake?.();
  }

  /** There is something new to be heard from it: it is asked now. */
  ask(): void {
    this.#due = true;
    this.#wake?.();
  }

  /** Something says that it may be gone: it is asked now, and whether its machine is there is looked at meanwhile. */
  suspect(): void {
    if (this.status.state !== 'up' || this.#closed) return;
    this.#suspected = true;
    this.#machine?.look();
    this.ask();
  }

  note(observed: ObservedSession): void {
    this.#notes.set(observed.session_id, { atMs: this.#options.clock.monotonicMs(), observed });
    this.status.sessions.set(observed.session_id, observed);
  }

  close(): void {
    this.#closed = true;
    this.#wake?.();
  }

  async #loop(): Promise<void> {
    const { clock, bounds } = this.#options;
    let lastMs = clock.monotonicMs();
    while (!this.#closed) {
      const hurried = () => clock.monotonicMs() < this.#hurryUntilMs;
      const due = () => lastMs + (hurried() ? bounds.hurryPeriodMs : bounds.heartbeatPeriodMs) - clock.monotonicMs();
      for (let waitMs = due(); waitMs > 0 && !this.#closed && !this.#due; waitMs = due()) await this.#pause(waitMs);
      if (this.#closed) return;
      this.#due = false;
      lastMs = clock.monotonicMs();
      await this.#probe();
    }
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  async #probe(): Promise<void> {
    let outcome = await this.#ask();
    if (!outcome.ok && !isSilence(outcome.error) && !this.#closed) outcome = await this.#ask();
    if (this.#closed) return;
    if (outcome.ok) return this.#answered(outcome.heartbeat, outcome.sentMs);
    if (this.#isOwnStall(outcome.tookMs, outcome.error) || (await this.#isStarved(outcome.error))) return;
    if (!this.#closed) this.#failed(outcome.error, Math.max(outcome.tookMs, this.#silentMs()));
  }

  #silentMs(): number {
    return this.#options.clock.monotonicMs() - this.#answeredMs;
  }

  /** Silent, but its machine is there, and not for long. */
  async #isStarved(error: OrchestratorError): Promise<boolean> {
    const { bounds, client } = this.#options;
    if (this.status.state !== 'up' || unreachableCause(error) !== 'timeout') return false;
    return this.#silentMs() < bounds.hungTimeoutMs && (await client.reachable(bounds.connectTimeoutMs));
  }

  async #ask(): Promise<Outcome> {
    const { clock, client, bounds, file } = this.#options;
    const sentMs = clock.monotonicMs();
    const sentAt = clock.now();
    const machine = this.status.state === 'up' ? watchMachine(client, bounds) : null;
    this.#machine = machine;
    if (this.#suspected) machine?.look();
    this.#suspected = false;
    try {
      const asked = client.heartbeat({ timeoutMs: bounds.heartbeatTimeoutMs, query: this.#told() });
      const heartbeat = await (machine === null ? asked : Promise.race([asked, machine.gone]));
      checkIdentity(file, heartbeat);
      this.status.clock.add({ sentAt, receivedAt: clock.now(), nodeAt: heartbeat.timestamp });
      return { ok: true, heartbeat, sentMs };
    } catch (thrown) {
      return { ok: false, error: toOrchestratorError(thrown), tookMs: clock.monotonicMs() - sentMs };
    } finally {
      machine?.stop();
      this.#machine = null;
    }
  }

  /** The node's own clock as it looks from here; a coordinator that has no epoch yet may not set clocks. */
  #told(): HeartbeatQuery {
    const epoch = this.#options.epoch();
    const { offset } = this.status.clock;
    if (epoch === null || offset === null) return {};
    const rounded = (ms: number) => Math.round(ms * 1000) / 1000;
    return { epoch, clock_offset_ms: rounded(offset.offsetMs), clock_error_ms: rounded(offset.errorMs) };
  }

  #isOwnStall(tookMs: number, error: OrchestratorError): boolean {
    const late = unreachableCause(error) === 'timeout' && tookMs > this.#options.bounds.heartbeatTimeoutMs + STALL_MS;
    this.#stalls = late ? this.#stalls + 1 : 0;
    return late && this.#stalls <= STALLS_MAX;
  }

  #answered(heartbeat: Heartbeat, sentMs: number): void {
    const { status } = this;
    const wasUp = status.state === 'up';
    this.#stalls = 0;
    this.#answeredMs = this.#options.clock.monotonicMs();
    status.state = 'up';
    status.missing = false;
    status.problem = null;
    status.lastSeen = this.#options.clock.now();
    status.facts = heartbeat.facts;
    status.epoch = heartbeat.epoch;
    status.cpuUtil = heartbeat.cpu_util ?? null;
    status.clockCorrectionMs = heartbeat.clock_correction_ms;
    status.sessions = new Map(heartbeat.sessions.map((session) => [session.session_id, session]));
    for (const [sessionId, { atMs, observed }] of this.#notes) {
      if (atMs < sentMs) this.#notes.delete(sessionId);
      else status.sessions.set(sessionId, observed);
    }
    if (!wasUp) {
      this.hurry(this.#options.bounds.greetingMs);
      this.#options.change('up');
    }
    this.#options.change('heartbeat');
  }

  #failed(error: OrchestratorError, tookMs: number): void {
    const { status } = this;
    const { clock, bounds, change } = this.#options;
    const silent = isSilence(error);
    status.problem = error.message;
    status.why = silent ? `silent ${(tookMs / 1000).toFixed(1)} s` : whyOf(error);
    if (status.state === 'up') {
      status.state = 'lost';
      status.sessions = new Map();
      this.#notes.clear();
      status.clock.reset();
      status.clockCorrectionMs = null;
      change('lost');
    } else if (
      status.state === 'unknown' &&
      !status.missing &&
      clock.monotonicMs() - this.#startedMs >= bounds.unknownGraceMs
    ) {
      status.missing = true;
      change('missing');
    }
  }
}

/** No answer of any kind, from the agent or from its machine. */
function isSilence(error: OrchestratorError): boolean {
  const cause = unreachableCause(error);
  return cause === 'timeout' || cause === 'gone';
}

function whyOf(error: OrchestratorError): string {
  const cause = unreachableCause(error);
  if (cause === 'ECONNREFUSED') return 'refuses connections';
  return cause === undefined || cause === 'answer' ? 'gives no valid answer' : `cannot be reached (${cause})`;
}

/** Two node files with each other's address would otherwise place every handler on the wrong machine. */
function checkIdentity(file: NodeFile, { facts }: Heartbeat): void {
  if (facts.node_id === null || facts.node_id === file.node_id) return;
  throw new OrchestratorError(
    'NODE_UNREACHABLE',
    `${file.node_addr}:${file.node_port} answers as node ${facts.node_id} ${facts.node_name}, not ${file.node_id} ${file.node_name}`,
    { cause: 'answer', node_id: facts.node_id },
  );
}
