/**
 * Machines of their own for tests: one network namespace each, on a bridge as on a switch. Pulling a machine's cable
 * is what no signal can do: nobody refuses, nothing resets, packets are simply gone, and what runs there runs on.
 * Needs root and iproute2; without them tests say so, except under CI, where they are a must.
 */
import { execFileSync, spawnSync } from 'node:child_process';

export interface Machine {
  readonly address: string;
  /** The words that start a program there; the program takes their place. */
  readonly launcher: readonly string[];
  unplug(): void;
  plug(): void;
}

export interface Switch {
  /** Of this side. */
  readonly address: string;
  readonly machines: readonly Machine[];
  close(): void;
}

export function hasNamespaces(): boolean {
  const probe = `vo-probe-${process.pid}`;
  const found = spawnSync('ip', ['netns', 'add', probe], { stdio: 'ignore' }).status === 0;
  if (found) ip('netns', 'del', probe);
  if (!found && process.env.CI === 'true')
    throw new Error('no network namespace can be made; under CI its tests are a must');
  if (!found) process.stderr.write('no network namespace can be made: tests of pulled cables do not run here\n');
  return found;
}

export function openSwitch(count: number): Switch {
  // The range for benchmarks of networks (RFC 2544); interface names have at most 15 characters.
  const subnet = `198.18.${process.pid % 256}`;
  const name = `vo${process.pid}`;
  const machines: Machine[] = [];
  const close = () => {
    machines.forEach((_, index) => {
      spawnSync('ip', ['netns', 'del', `${name}-${index}`]);
    });
    spawnSync('ip', ['link', 'del', name]);
    process.removeListener('exit', close);
  };
  process.once('exit', close);
  ip('link', 'add', name, 'type', 'bridge');
  ip('address', 'add', `${subnet}.1/24`, 'dev', name);
  ip('link', 'set', name, 'up');
  for (let index = 0; index < count; index++) {
    const [space, port, own] = [`${name}-${index}`, `${name}p${index}`, `${name}q${index}`];
    const address = `${subnet}.${index + 2}`;
    const inside = ['netns', 'exec', space, 'ip'];
    ip('netns', 'add', space);
    ip('link', 'add', port, 'type', 'veth', 'peer', 'name', own, 'netns', space);
    ip('link', 'set', port, 'master', name, 'up');
    ip(...inside, 'address', 'add', `${address}/24`, 'dev', own);
    ip(...inside, 'link', 'set', own, 'up');
    ip(...inside, 'link', 'set', 'lo', 'up');
    machines.push({
      address,
      launcher: ['ip', 'netns', 'exec', space],
      unplug: () => ip('link', 'set', port, 'down'),
      plug: () => ip('link', 'set', port, 'up'),
    });
  }
  return { address: `${subnet}.1`, machines, close };
}

function ip(...args: string[]): void {
  execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'inherit'] });
}
