/** The lease as the one row of the table `lease`, which its migration makes. */
import { OrchestratorError } from '../../contracts/errors.js';
import type { Lease, LeaseAnswer, LeaseClaim } from '../lease.js';
import type { MysqlPool } from './connection.js';

const NOW_S = 'unix_timestamp(now(6))';

export class MysqlLease implements Lease {
  readonly #pool: MysqlPool;

  constructor(pool: MysqlPool) {
    this.#pool = pool;
  }

  async claim({ holder, url, leaseMs }: LeaseClaim): Promise<LeaseAnswer> {
    const { affectedRows } = await this.#pool.execute(
      `UPDATE lease SET holder = ?, url = ?, ends_at = ${NOW_S} + ? WHERE holder = ? OR ends_at <= ${NOW_S}`,
      [holder, url, leaseMs / 1000, holder],
    );
    if (affectedRows > 0) return { held: true, leader: url };
    const [row] = await this.#pool.query<{ url: string }>(`SELECT url FROM lease WHERE ends_at > ${NOW_S}`);
    return { held: false, leader: row?.url ?? null };
  }

  async release(holder: string): Promise<void> {
    await this.#pool.execute('UPDATE lease SET ends_at = 0 WHERE holder = ?', [holder]);
  }

  /** A fencing number for who holds the lease. Throws NOT_LEADER. */
  async nextEpoch(holder: string): Promise<number> {
    await this.#pool.execute("INSERT IGNORE INTO meta (`key`, value) VALUES ('epoch', 0)");
    const { affectedRows, insertId } = await this.#pool.execute(
      `UPDATE meta SET value = LAST_INSERT_ID(value + 1) WHERE \`key\` = 'epoch'
        AND EXISTS (SELECT 1 FROM lease WHERE holder = ? AND ends_at > ${NOW_S})`,
      [holder],
    );
    if (affectedRows > 0) return insertId;
    throw new OrchestratorError('NOT_LEADER', 'the lease has run out before this coordinator could begin to lead');
  }
}
