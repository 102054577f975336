/**
 * One subprocess of the agent (a handler host, a model process): fork, typed messages, bounded output into the log, one exit.
 * It sees no environment but what it is given, and none of the agent's own flags.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import type { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import type { FromHost, ToHost } from '../handler-kit/host-protocol.js';
import type { Logger } from '../std/logger.js';

/** Longer lines of a host's output are cut, characters. */
const LINE_LENGTH_MAX = 4_096;
/** Lines of one host that go to the log within a second; a host that prints per packet must not fill the disk. */
const LINES_PER_S_MAX = 50;

/** Of -1000 (never) to 1000 (first): as if a host used half of the machine more than it does. */
const OOM_SCORE_ADJ = 500;

/** `TypeError: x is not a function`; the lines after it (stack, version of Node) say less. */
const NAMES_ERROR = /^\w*Error\b/;
/** After an exit, how long its last messages and lines are waited for, and how old a line may be to be its last, ms. */
const LAST_WORDS_MS = 250;

export interface HostProcessOptions<From> {
  readonly entry: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly logger: Logger;
  onMessage(message: From): void;
}

export interface HostExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** The line that it wrote to stderr as it ended: the one that names an error, else the last one; may be empty. */
  readonly lastLine: string;
}

export class HostProcess<To extends object = ToHost, From = FromHost> {
  readonly exited: Promise<HostExit>;
  readonly #child: ChildProcess;
  #lastLine = '';
  #lastLineMs = 0;

  constructor({ entry, environment, logger, onMessage }: HostProcessOptions<From>) {
    this.#child = fork(entry, [], {
      serialization: 'advanced',
      execArgv: [],
      env: { ...environment },
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    });
    const pid = this.#child.pid ?? null;
    if (pid !== null) sacrifice(pid);
    this.#child.on('message', (message) => onMessage(message as From));
    forwardLines(this.#child.stdout, (line) => logger.info({ pid }, line));
    forwardLines(this.#child.stderr, (line) => {
      this.#keepLine(line);
      if (NAMES_ERROR.test(line)) logger.warn({ pid }, line);
      else logger.info({ pid }, line);
    });
    this.exited = this.#exit();
  }

  get pid(): number | null {
    return this.#child.pid ?? null;
  }

  /** False when the channel is gone: the exit is on its way. */
  send(message: To): boolean {
    if (!this.#child.connected) return false;
    this.#child.send(message, () => {});
    return true;
  }

  /** Hands an accepted connection over; afterwards it is no longer this process's. */
  sendSocket(message: To, socket: Socket): boolean {
    if (!this.#child.connected) return false;
    // Node would make the server keep count of the connections that its children have, and with that count its close()
    // never ends once such a child has exited. Without `server` the connection is the child's alone; destroying what is
    // left of it here takes it off the server's own count.
    Object.assign(socket, { server: undefined });
    this.#child.send(message, socket, { keepOpen: false }, () => socket.destroy());
    return true;
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }

  #keepLine(line: string): void {
    const nowMs = performance.now();
    const newer = NAMES_ERROR.test(line) || nowMs - this.#lastLineMs > LAST_WORDS_MS;
    if (!newer && NAMES_ERROR.test(this.#lastLine)) return;
    this.#lastLine = line;
    this.#lastLineMs = nowMs;
  }

  /** 'exit' may come before its last message and output: waits for both, but not for pipes that a grandchild holds open. */
  async #exit(): Promise<HostExit> {
    const child = this.#child;
    const rest = Promise.all([
      new Promise((resolve) => child.once('close', resolve)),
      new Promise((resolve) => child.once('disconnect', resolve)),
    ]);
    const ended = await new Promise<Pick<HostExit, 'code' | 'signal'>>((resolve) => {
      child.once('exit', (code, signal) => resolve({ code, signal }));
      child.on('error', (error) => {
        this.#lastLine = error.message;
        if (child.pid === undefined) resolve({ code: null, signal: null });
      });
    });
    await Promise.race([rest, sleep(LAST_WORDS_MS, undefined, { ref: false })]);
    const isFresh = performance.now() - this.#lastLineMs < 2 * LAST_WORDS_MS;
    return { ...ended, lastLine: isFresh ? this.#lastLine : '' };
  }
}

/**
 * A machine that is out of memory ends what has the highest score. A host is started again and loses nothing; with the
 * agent everything on the node would go. Raising the score needs no rights; where there is no /proc nothing is done.
 */
function sacrifice(pid: number): void {
  void writeFile(`/proc/${pid}/oom_score_adj`, String(OOM_SCORE_ADJ)).catch(() => {});
}

function forwardLines(stream: Readable | null, write: (line: string) => void): void {
  if (stream === null) return;
  let partial = '';
  let secondStartMs = 0;
  let lines = 0;
  let left = 0;
  const say = (line: string) => {
    const nowMs = performance.now();
    if (nowMs - secondStartMs >= 1_000) {
      if (left > 0) write(`(${left} lines left out)`);
      secondStartMs = nowMs;
      lines = 0;
      left = 0;
    }
    lines += 1;
    if (lines > LINES_PER_S_MAX) left += 1;
    else write(line.slice(0, LINE_LENGTH_MAX));
  };
  stream.setEncoding('utf8');
  stream.on('data', (chunk: string) => {
    const parts = (partial + chunk).split('\n');
    partial = parts.pop()!.slice(0, LINE_LENGTH_MAX);
    for (const line of parts) if (line.trim() !== '') say(line);
  });
  stream.on('end', () => {
    if (partial.trim() !== '') say(partial);
  });
  stream.on('error', () => {});
}
