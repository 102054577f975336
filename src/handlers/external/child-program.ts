/**
 * A program that the host starts and keeps running. Invariant: it never outlives the host, however that ends: a small
 * shell beside it waits for the end of a pipe that only the host holds open, and then ends the program.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import type { CommandStart } from '../../handler-kit/define.js';
import { Backoff } from '../../std/backoff.js';
import type { Logger } from '../../std/logger.js';

/** First and longest pause before it is started again, ms. */
const RESTART_BASE_MS = 250;
const RESTART_MAX_MS = 10_000;

/** A program that ran this long before it ended starts the count anew, ms. */
const STABLE_AFTER_MS = 30_000;

/**
 * `$@` is the program. When stdin ends it is asked to end, and a second later it is killed; when it ends by itself, so
 * does this shell, with its code. Where there is `setsid` (Linux), all of that goes for what the program started, too: its
 * process group. Before the program leads it there is no such group, hence the second of the two signals.
 */
const KEEPER = `
exec 3<&0
if command -v setsid >/dev/null; then set -- setsid "$@"; fi
"$@" 3<&- </dev/null &
program=$!
end() { kill "-$1" "-$program" || kill "-$1" "$program"; }
{ while read -r _ <&3; do :; done; end TERM; sleep 1; end KILL; } 2>/dev/null &
watch=$!
wait $program
code=$?
kill -KILL $watch "-$program" 2>/dev/null
exit $code`;

export interface ChildProgramOptions {
  readonly start: CommandStart;
  readonly logger: Logger;
}

export class ChildProgram {
  readonly #options: ChildProgramOptions;
  readonly #backoff = new Backoff({ baseMs: RESTART_BASE_MS, maxMs: RESTART_MAX_MS });
  #child: ChildProcess | null = null;
  #timer: NodeJS.Timeout | null = null;
  #problem: string | undefined;
  #closed = false;

  constructor(options: ChildProgramOptions) {
    this.#options = options;
    this.#run();
  }

  /** How it last ended; undefined before that. */
  get problem(): string | undefined {
    return this.#problem;
  }

  close(): void {
    this.#closed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#child?.stdin?.destroy();
  }

  #run(): void {
    const { program, args, environment } = this.#options.start;
    const startMs = performance.now();
    const child = spawn('/bin/sh', ['-c', KEEPER, 'sh', program, ...args], {
      stdio: ['pipe', 'inherit', 'inherit'],
      env: { ...environment },
    });
    this.#child = child;
    child.stdin.on('error', () => {});
    let how = '';
    child.once('error', (error) => {
      how = error.message;
    });
    child.once('close', (code, signal) => {
      this.#ended(how === '' ? (signal ?? `code ${code}`) : how, performance.now() - startMs);
    });
  }

  #ended(how: string, ranMs: number): void {
    this.#child = null;
    if (this.#closed) return;
    if (ranMs >= STABLE_AFTER_MS) this.#backoff.reset();
    const { logger, start } = this.#options;
    const delayMs = Math.round(this.#backoff.nextMs());
    this.#problem = `${start.program} ended with ${how}`;
    logger.warn({ delay_ms: delayMs }, `${this.#problem}; it is started again`);
    this.#timer = setTimeout(() => this.#run(), delayMs);
  }
}
