/** What is seen of a session from outside: frames at its sink, as they are written. */
import { statSync, watch } from 'node:fs';
import { open } from 'node:fs/promises';

export interface Arrivals {
  /** Delivered ones, as the sink wrote them. */
  readonly frames: { readonly sequence: number; readonly atMs: number }[];
  /** Sequences that the sink wrote as dropped, and those that it never wrote. */
  lost: number;
  /** Sequences that it wrote again, or behind a later one. */
  repeated: number;
  /** Why and where frames were dropped, and when, ms after the first look. */
  readonly drops: { readonly cause: string; readonly afterMs: number }[];
  stop(): void;
}

interface JournalLine {
  readonly sequence: number;
  readonly dropped?: string;
  readonly handler_id?: number;
}

/** Follows the lines of a sink's journal from now on. */
export function followArrivals(path: string): Arrivals {
  let offset = statSync(path).size;
  let rest = '';
  let last: number | null = null;
  let reading = Promise.resolve();
  const sinceMs = performance.now();
  const arrivals: Arrivals = { frames: [], lost: 0, repeated: 0, drops: [], stop: () => watcher.close() };
  const take = (line: string, atMs: number) => {
    const { sequence, dropped, handler_id } = JSON.parse(line) as JournalLine;
    if (last !== null && sequence <= last) {
      arrivals.repeated += 1;
      return;
    }
    arrivals.lost += last === null ? 0 : sequence - last - 1;
    last = sequence;
    if (dropped === undefined) arrivals.frames.push({ sequence, atMs });
    else {
      arrivals.lost += 1;
      arrivals.drops.push({ cause: `${dropped} at handler ${handler_id}`, afterMs: atMs - sinceMs });
    }
  };
  const read = async (atMs: number) => {
    const size = statSync(path).size;
    if (size <= offset) return;
    const file = await open(path);
    const { buffer, bytesRead } = await file.read(Buffer.alloc(size - offset), 0, size - offset, offset);
    await file.close();
    offset += bytesRead;
    const lines = (rest + buffer.toString('utf8', 0, bytesRead)).split('\n');
    rest = lines.pop()!;
    for (const line of lines) take(line, atMs);
  };
  const watcher = watch(path, () => {
    const atMs = performance.now();
    reading = reading.then(() => read(atMs));
  });
  return arrivals;
}

export function longestGap({ frames }: Pick<Arrivals, 'frames'>): { endMs: number; ms: number } {
  let longest = { endMs: 0, ms: 0 };
  frames.forEach(({ atMs }, index) => {
    const before = frames[index - 1]?.atMs ?? atMs;
    if (atMs - before > longest.ms) longest = { endMs: atMs, ms: atMs - before };
  });
  return longest;
}
