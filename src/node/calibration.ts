/**
 * How fast one core of this machine is, compared with the machine on which the declared costs were measured.
 * A fixed piece of integer and floating point work is timed a few times in CPU time, so that other processes on the
 * machine do not count, and the fastest run counts, because caches and the compiler can only make it slower.
 */

/** Fastest run of the kernel on the machine of the declared costs, ms. */
export const REFERENCE_KERNEL_MS = 12.5;

const KERNEL_ROUNDS = 5_000_000;
const RUNS = 8;
/** Results outside say more about the measurement than about the machine. */
const SPEED_MIN = 0.05;
const SPEED_MAX = 10;

/** Xorshift steps and a multiply-add each; returns its sum so that no compiler may leave it out. */
function kernel(rounds: number): number {
  let state = 0x9e3779b9 | 0;
  let sum = 0;
  for (let round = 0; round < rounds; round++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    sum = sum * 0.999 + (state & 0xffff) * 0.5;
  }
  return sum;
}

function cpuTimeMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/** Takes about 100 ms of one core. */
export function measureSpeed(nowMs: () => number = cpuTimeMs): number {
  let fastestMs = Number.POSITIVE_INFINITY;
  let sink = 0;
  for (let run = 0; run < RUNS; run++) {
    const startMs = nowMs();
    sink += kernel(KERNEL_ROUNDS);
    fastestMs = Math.min(fastestMs, nowMs() - startMs);
  }
  const speed = Number.isNaN(sink) ? 1 : REFERENCE_KERNEL_MS / fastestMs;
  return Math.min(SPEED_MAX, Math.max(SPEED_MIN, Math.round(speed * 100) / 100));
}
