import { afterEach, expect, test } from 'vitest';
import { silentLogger } from '../std/logger.js';
import type { Lease, LeaseAnswer, LeaseClaim } from '../store/lease.js';
import { until } from './cluster.testing.js';
import { Election } from './election.js';

/** A lease by a clock of its own, which the tests turn. */
class TestLease implements Lease {
  nowMs = 0;
  away = false;
  claims = 0;
  #row = { holder: '', url: '', endsMs: 0 };

  async claim({ holder, url, leaseMs }: LeaseClaim): Promise<LeaseAnswer> {
    this.claims += 1;
    if (this.away) throw new Error('the database is away');
    const free = this.#row.endsMs <= this.nowMs;
    if (free || this.#row.holder === holder) this.#row = { holder, url, endsMs: this.nowMs + leaseMs };
    return { held: this.#row.holder === holder, leader: this.#row.url };
  }

  async release(holder: string): Promise<void> {
    if (this.#row.holder === holder) this.#row.endsMs = 0;
  }
}

const BOUNDS = { leaseMs: 2_000, renewPeriodMs: 1, watchPeriodMs: 1 };
let opened: Election[] = [];
afterEach(async () => {
  for (const one of opened) await one.close();
  opened = [];
});

function candidate(lease: TestLease, name: string, clock = { now: () => 0, monotonicMs: () => lease.nowMs }) {
  let changes = 0;
  const election = new Election({
    ...{ lease, holder: name, url: `http://${name}`, bounds: BOUNDS, clock, logger: silentLogger },
    onChange: () => {
      changes += 1;
    },
  });
  opened.push(election);
  election.start();
  return { election, changes: () => changes };
}

const asked = async (lease: TestLease, more = 4) => {
  const before = lease.claims;
  await until('claims', async () => lease.claims >= before + more);
};

test('one leads, the other says where it is, and takes over when it is released', async () => {
  const lease = new TestLease();
  const { election: a } = candidate(lease, 'a');
  await until('a leads', async () => a.leads);
  const { election: b } = candidate(lease, 'b');
  await until('b knows', async () => b.leader === 'http://a');
  lease.nowMs += 1_500;
  await asked(lease);
  lease.nowMs += 1_500;
  await asked(lease);
  expect([a.leads, b.leads]).toEqual([true, false]);
  await a.close();
  expect(a.leads).toBe(false);
  await a.release();
  await until('b leads', async () => b.leads);
});

test('a database that is away lapses the lead at the end of the lease, and it goes on by itself', async () => {
  const lease = new TestLease();
  const { election, changes } = candidate(lease, 'a');
  await until('a leads', async () => election.leads);
  await asked(lease);
  lease.away = true;
  await asked(lease);
  lease.nowMs += 1_999;
  expect(election.leads).toBe(true);
  lease.nowMs += 1;
  expect([election.leads, election.isLeader]).toEqual([false, true]);
  lease.away = false;
  await until('a leads again', async () => election.leads);
  expect(changes()).toBe(1);
});

test('who was stopped does not lead for a moment when it goes on', async () => {
  const lease = new TestLease();
  const { election: a, changes } = candidate(lease, 'a');
  await until('a leads', async () => a.leads);
  // Its time goes on while it asks nobody: what a stopped process looks like from outside.
  lease.away = true;
  await asked(lease);
  lease.nowMs += 2_000;
  expect(a.leads).toBe(false);
  lease.away = false;
  await lease.claim({ holder: 'b', url: 'http://b', leaseMs: 2_000 });
  await until('a follows', async () => !a.isLeader);
  expect([a.leads, a.leader, changes()]).toEqual([false, 'http://b', 2]);
});
