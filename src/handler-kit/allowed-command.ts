/**
 * Programs that a handler starts are those that the node's operator named, word for word: who may start a session must
 * not be able to run what they like on its nodes. There is no shell, so a word is what stands between two spaces.
 */
import { OrchestratorError } from '../contracts/errors.js';
import type { CommandStart } from './define.js';
import type { HostConfig } from './host-protocol.js';

const words = (command: string): string[] => command.split(/\s+/).filter((word) => word !== '');

/** COMMAND_FORBIDDEN when `command` is none of those that the node allows. */
export function allowedCommand(
  command: string,
  config: Pick<HostConfig, 'commands' | 'environment' | 'session_id' | 'socketPath'>,
  handler_id: number,
): CommandStart {
  const wanted = words(command);
  const allowed = config.commands.some((one) => words(one).join(' ') === wanted.join(' '));
  const [program, ...args] = wanted;
  if (!allowed || program === undefined) {
    const known = config.commands.length === 0 ? 'none' : config.commands.join('; ');
    throw new OrchestratorError('COMMAND_FORBIDDEN', `command ${command} is not one that this node allows (${known})`, {
      command,
    });
  }
  const environment = {
    ...config.environment,
    ORCHESTRATOR_NODE: `unix:${config.socketPath}`,
    ORCHESTRATOR_SESSION: String(config.session_id),
    ORCHESTRATOR_HANDLER: String(handler_id),
  };
  return { program, args, environment };
}
