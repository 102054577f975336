/**
 * Waiting time at one stage. Pure arithmetic; the surprising thing is that utilisation is cut at UTILISATION_CAP, so that
 * the factor stays finite for static templates that ask for more than there is.
 */
import { UTILISATION_CAP, VARIABILITY } from './bounds.js';

/**
 * Mean wait divided by mean service time at `servers` servers with utilisation 0..1.
 *
 * Allen-Cunneen with Sakasegawa's M/M/c (H. Sakasegawa, Ann. Inst. Stat. Math. 29, 1977):
 * `rho^(sqrt(2(c+1)) - 1) / (c (1 - rho)) * (ca^2 + cs^2) / 2`. At c = 1 it is Pollaczek-Khinchine's M/G/1 formula.
 */
export function waitFactor(servers: number, utilisation: number): number {
  const rho = Math.min(Math.max(utilisation, 0), UTILISATION_CAP);
  if (rho === 0) return 0;
  return (rho ** (Math.sqrt(2 * (servers + 1)) - 1) / (servers * (1 - rho))) * VARIABILITY;
}
