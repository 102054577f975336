/** Whatever tests leave behind in the directory for temporary files goes when the run ends. */
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export default function setup(): () => void {
  // Short: paths of Unix sockets have 108 bytes.
  const directory = mkdtempSync(join(tmpdir(), 'orch-'));
  // A database server runs as a user of its own, and must get through to its files.
  chmodSync(directory, 0o755);
  process.env.TMPDIR = directory;
  return () => rmSync(directory, { recursive: true, force: true, maxRetries: 5 });
}
