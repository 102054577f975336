/**
 * The right to lead, which one of several coordinators has at a time: a row in the database that they share. Its time is
 * the database's, so that clocks of machines do not matter; each claim is one statement, so that a coordinator that is
 * stopped half-way holds no lock that the others would wait for.
 */
export interface LeaseClaim {
  /** Of one process: a restarted coordinator is another holder. */
  readonly holder: string;
  /** Where clients reach it. */
  readonly url: string;
  /** From now on, ms. */
  readonly leaseMs: number;
}

export interface LeaseAnswer {
  /** Whether the one that asked holds it now. */
  readonly held: boolean;
  /** Where the one that holds it is; null when nobody does. */
  readonly leader: string | null;
}

export interface Lease {
  /** Takes the lease when it is free or has run out, renews it for who holds it. */
  claim(claim: LeaseClaim): Promise<LeaseAnswer>;
  /** Frees it when this one holds it. */
  release(holder: string): Promise<void>;
}
