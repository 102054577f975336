/** The four calls that the parts make; pino satisfies it, and tests pass `silentLogger`. */
export interface Logger {
  debug(context: object, message: string): void;
  info(context: object, message: string): void;
  warn(context: object, message: string): void;
  error(context: object, message: string): void;
}

export const silentLogger: Logger = { debug() {}, info() {}, warn() {}, error() {} };

/** Of a subprocess: lines for the agent's log: the message first, because the agent shows the last one when a host ends. */
export function stderrLogger(): Logger {
  const write = (context: object, message: string): void => {
    const fields = Object.keys(context).length === 0 ? '' : ` ${JSON.stringify(context)}`;
    process.stderr.write(`${message}${fields}\n`);
  };
  return { debug() {}, info: write, warn: write, error: write };
}
