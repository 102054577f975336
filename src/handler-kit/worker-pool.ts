/**
 * The programs that have joined one handler, and the packets that they work on. A packet goes to the program with the
 * fewest in hand; when a program ends, what it had in hand goes to another, or waits for the next one that joins.
 *
 *   waiting --a program is there--> in hand --answered--> done
 *   in hand --its program ended--> waiting (`attempts` times, then it fails);  in hand --too late--> fails
 *
 * Invariant: each packet given to `process` gets one answer or one error, whatever programs do; so whoever has custody
 * of it may wait. What is past its deadline does not, and under `latest` nothing does when no program was there for
 * ABSENT_MS.
 */
import { OrchestratorError } from '../contracts/errors.js';
import type { DataPacket, Delivery, EndPacket } from '../contracts/packet.js';
import type { KeepAlive } from '../links/frame-socket.js';
import { checkProtocol, refuseUpgrade } from '../links/handshake.js';
import { type WorkerAnswer, WorkerLink, type WorkerUpgrade } from '../links/worker-link.js';
import type { Clock } from '../std/clock.js';
import { type Deferred, deferred } from '../std/deferred.js';
import type { Logger } from '../std/logger.js';
import { PacketDropped } from './define.js';

/** Programs of one handler; more than a machine has cores do not make it faster. */
export const WORKERS_MAX = 16;

/** Under `latest`: how long packets wait for a program that has gone, ms; one that is started again is back by then. */
export const ABSENT_MS = 1000;

export interface WorkerPoolOptions {
  readonly delivery: Delivery;
  /** A program must answer a packet within this, ms; else the packet fails and the program is cut off. */
  readonly timeoutMs: number;
  /** Programs that may end while they have a packet in hand before it fails: one that kills each of them must not stay for ever. */
  readonly attempts: number;
  /** Where programs join, for messages. */
  readonly url: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly keepAlive?: KeepAlive;
}

interface Worker {
  readonly link: WorkerLink;
  /** By sequence. */
  readonly inHand: Map<number, Task>;
}

interface Task {
  readonly packet: DataPacket;
  readonly answer: Deferred<WorkerAnswer>;
  /** Programs that ended with it. */
  lost: number;
  timer: NodeJS.Timeout | undefined;
}

export class WorkerPool {
  readonly #options: WorkerPoolOptions;
  readonly #workers = new Set<Worker>();
  /** In the order of their sequences. */
  readonly #waiting: Task[] = [];
  #end: EndPacket | null = null;
  #absentMs: number;
  #left: string | null = null;
  #closed = false;

  constructor(options: WorkerPoolOptions) {
    this.#options = options;
    this.#absentMs = options.clock.monotonicMs();
  }

  get size(): number {
    return this.#workers.size;
  }

  /** Undefined while a program is there. */
  note(): string | undefined {
    if (this.#workers.size > 0 || this.#end !== null) return undefined;
    const left = this.#left === null ? '' : `; the last one left: ${this.#left}`;
    return `waiting for a program to join at ${this.#options.url}${left}`;
  }

  /** Takes the connection of a program, or refuses it with HTTP: PROGRAMS_FULL, LINK_PROTOCOL. */
  join(upgrade: WorkerUpgrade): void {
    try {
      this.#check(upgrade);
    } catch (error) {
      refuseUpgrade(upgrade.socket, error as OrchestratorError);
      return;
    }
    const { clock, keepAlive, logger, url } = this.#options;
    const link = new WorkerLink({
      ...{ upgrade, clock, keepAlive },
      onAnswer: (answer) => this.#take(worker, answer),
      onClosed: (reason) => this.#lose(worker, reason),
    });
    const worker: Worker = { link, inHand: new Map() };
    this.#workers.add(worker);
    logger.info({ url, programs: this.#workers.size }, 'a program has joined');
    link.read();
    for (const task of this.#waiting.splice(0)) this.#place(task);
    if (this.#end !== null) link.write(this.#end);
  }

  /** The answer of a program. Throws PacketDropped (nobody was there in time), HANDLER_TIMEOUT, HANDLER_FAILED. */
  process(packet: DataPacket): Promise<WorkerAnswer> {
    const task: Task = { packet, answer: deferred(), lost: 0, timer: undefined };
    if (this.#closed) task.answer.reject(new OrchestratorError('HANDLER_FAILED', 'the handler is closed'));
    else this.#place(task);
    return task.answer.promise;
  }

  /** The stream has ended: every program is told, those too that join later. */
  end(packet: EndPacket): void {
    this.#end = packet;
    for (const { link } of this.#workers) link.write(packet);
  }

  close(): void {
    this.#closed = true;
    for (const worker of [...this.#workers]) worker.link.close('the handler is closed');
    for (const task of this.#waiting.splice(0)) {
      this.#fail(task, new OrchestratorError('HANDLER_FAILED', 'the handler is closed'));
    }
  }

  #check({ headers }: WorkerUpgrade): void {
    checkProtocol(headers);
    if (this.#closed) throw new OrchestratorError('LINK_BUSY', 'the handler is being closed');
    if (this.#workers.size >= WORKERS_MAX) {
      const message = `${this.#workers.size} programs have joined this handler already (at most ${WORKERS_MAX})`;
      throw new OrchestratorError('PROGRAMS_FULL', message, { programs_max: WORKERS_MAX });
    }
  }

  /** To a program, or among those that wait, where its sequence belongs. */
  #place(task: Task): void {
    const worker = this.#idlest();
    if (worker !== undefined) {
      this.#hand(task, worker);
      return;
    }
    const { sequence } = task.packet;
    const index = this.#waiting.findIndex((other) => other.packet.sequence > sequence);
    this.#waiting.splice(index < 0 ? this.#waiting.length : index, 0, task);
    this.#boundWait(task);
  }

  #boundWait(task: Task): void {
    const { clock, url, delivery } = this.#options;
    const { deadline } = task.packet;
    const lateMs = deadline > 0 ? (deadline - clock.now()) * 1000 : Number.POSITIVE_INFINITY;
    const absentMs =
      delivery === 'latest' ? this.#absentMs + ABSENT_MS - clock.monotonicMs() : Number.POSITIVE_INFINITY;
    const waitMs = Math.min(lateMs, absentMs);
    if (waitMs === Number.POSITIVE_INFINITY) return;
    const give = (): void => {
      this.#waiting.splice(this.#waiting.indexOf(task), 1);
      const reason = lateMs < absentMs ? 'late' : 'queue';
      this.#fail(task, new PacketDropped(reason, `no program has joined at ${url}`));
    };
    if (waitMs <= 0) give();
    else task.timer = setTimeout(give, waitMs);
  }

  #idlest(): Worker | undefined {
    let idlest: Worker | undefined;
    for (const worker of this.#workers) {
      if (idlest === undefined || worker.inHand.size < idlest.inHand.size) idlest = worker;
    }
    return idlest;
  }

  #hand(task: Task, worker: Worker): void {
    clearTimeout(task.timer);
    try {
      worker.link.write(task.packet);
    } catch (error) {
      this.#fail(task, error as Error);
      return;
    }
    worker.inHand.set(task.packet.sequence, task);
    task.timer = setTimeout(() => this.#tooLate(task, worker), this.#options.timeoutMs);
  }

  #take(worker: Worker, answer: WorkerAnswer): void {
    const task = worker.inHand.get(answer.sequence);
    if (task === undefined) {
      const message = `a program answered sequence ${answer.sequence}, which it does not have`;
      throw new OrchestratorError('LINK_PROTOCOL', message);
    }
    worker.inHand.delete(answer.sequence);
    clearTimeout(task.timer);
    task.answer.resolve(answer);
  }

  /** Its late answer would meet nobody, so the program has to join again. */
  #tooLate(task: Task, worker: Worker): void {
    const { sequence } = task.packet;
    const message = `the program did not answer sequence ${sequence} within ${this.#options.timeoutMs} ms`;
    worker.inHand.delete(sequence);
    this.#fail(task, new OrchestratorError('HANDLER_TIMEOUT', message));
    worker.link.close(message);
  }

  #lose(worker: Worker, reason: string): void {
    if (!this.#workers.delete(worker)) return;
    const { clock, logger, attempts, url } = this.#options;
    this.#left = reason;
    if (this.#workers.size === 0) this.#absentMs = clock.monotonicMs();
    const tasks = [...worker.inHand.values()];
    logger.info({ url, programs: this.#workers.size, in_hand: tasks.length }, `a program has left: ${reason}`);
    for (const task of tasks) {
      clearTimeout(task.timer);
      task.lost += 1;
      if (this.#closed || task.lost >= attempts) {
        const message = `${task.lost} programs ended while they had sequence ${task.packet.sequence}; the last: ${reason}`;
        this.#fail(task, new OrchestratorError('HANDLER_FAILED', message));
      } else this.#place(task);
    }
  }

  #fail(task: Task, error: Error): void {
    clearTimeout(task.timer);
    task.answer.reject(error);
  }
}
