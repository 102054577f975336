/**
 * What every command prints: results on stdout (text, or JSON with --json), errors, notes and progress on stderr.
 * Exit codes: 0 done, 1 it failed (`error CODE: message`, a problem with --json), 2 wrong usage. Stacks only with --debug.
 */
import type { Command } from 'commander';
import { OrchestratorError, toOrchestratorError } from '../contracts/errors.js';

export interface GlobalOptions {
  readonly json: boolean;
  readonly debug: boolean;
  readonly progress: boolean;
}

export function globalOptions(command: Command): GlobalOptions {
  const { json = false, debug = false, progress = false } = command.optsWithGlobals<Partial<GlobalOptions>>();
  return { json, debug, progress };
}

/** A usage error: exit 2. */
export function usage(message: string): OrchestratorError {
  return new OrchestratorError('USAGE', message);
}

/** `value` as JSON, or as `text` makes it. */
export function print(options: GlobalOptions, value: unknown, text: () => string): void {
  process.stdout.write(`${options.json ? JSON.stringify(value, null, 2) : text()}\n`);
}

/** Prints the error and returns the exit code. `argv` is looked at because an error may come before options are parsed. */
export function reportError(thrown: unknown, argv: readonly string[]): number {
  const error = toOrchestratorError(thrown);
  if (argv.includes('--json')) {
    process.stderr.write(`${JSON.stringify(error.toProblem())}\n`);
  } else {
    process.stderr.write(`error ${error.code}: ${error.message}\n`);
    const more = Array.isArray(error.context.more) ? error.context.more : [];
    for (const line of more) process.stderr.write(`  also ${String(line)}\n`);
  }
  if (argv.includes('--debug') && thrown instanceof Error) {
    const cause = error.cause instanceof Error ? `\ncaused by ${error.cause.stack}` : '';
    process.stderr.write(`${thrown.stack}${cause}\n`);
  }
  return error.code === 'USAGE' ? 2 : 1;
}

export interface Progress {
  /** What is being done now; shown with the seconds since the start. */
  say(message: string): void;
  /** Takes the line away; called before anything else is printed. */
  clear(): void;
  end(): void;
}

const TICK_MS = 200;
const FRAMES = ['|', '/', '-', '\\'];

/** One line on a terminal that is rewritten in place; plain lines with --progress when stderr is no terminal; else silent. */
export function createProgress(options: GlobalOptions, startedMs = performance.now()): Progress {
  const elapsed = () => `${((performance.now() - startedMs) / 1000).toFixed(1)} s`;
  if (!process.stderr.isTTY) {
    const say = (message: string) => {
      if (options.progress) process.stderr.write(`${elapsed().padStart(7)}  ${message}\n`);
    };
    return { say, clear() {}, end() {} };
  }
  let message = '';
  let tick = 0;
  const clear = () => process.stderr.write('\r\u001b[K');
  const draw = () => {
    if (message === '') return;
    const width = (process.stderr.columns ?? 80) - 1;
    tick += 1;
    process.stderr.write(`\r\u001b[K${`${FRAMES[tick % FRAMES.length]} ${elapsed()}  ${message}`.slice(0, width)}`);
  };
  const timer = setInterval(draw, TICK_MS);
  timer.unref();
  return {
    say(next) {
      message = next;
      draw();
    },
    clear,
    end() {
      clearInterval(timer);
      message = '';
      clear();
    },
  };
}
