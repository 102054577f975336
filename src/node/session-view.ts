/** How a session of this node looks from outside: each handler as the newest host that has it, the session as the worst. */
import type { NodeSession, ResolvedBlueprint } from '../contracts/blueprint.js';
import type { OrchestratorError } from '../contracts/errors.js';
import type { HandlerState, ObservedHandler, ObservedSession } from '../contracts/node.js';
import type { HostHandlerStatus } from '../handler-kit/host-protocol.js';
import type { HandlerFigures } from './handler-figures.js';
import type { HostState } from './host-supervisor.js';
import { inferenceOf } from './inference.js';
import type { Host } from './session-hosts.js';
import type { SharedModels } from './shared-models.js';

const HANDLER_STATE: Record<HostState, HandlerState> = {
  starting: 'preparing',
  waiting: 'preparing',
  ready: 'ready',
  running: 'running',
  draining: 'draining',
  failed: 'failed',
  stopped: 'stopped',
};

/** The state of a session is the worst of its handlers', first in this order. */
const WORST_FIRST: readonly HandlerState[] = ['failed', 'preparing', 'draining', 'ready', 'running', 'stopped'];

/** What is looked at. */
export interface SessionLook {
  readonly target: NodeSession;
  readonly resolved: ResolvedBlueprint;
  /** Oldest first. */
  readonly hosts: readonly Host[];
  /** What is wanted has not been made yet. */
  readonly isBusy: boolean;
  readonly problem: OrchestratorError | null;
  /** What the handlers of ended hosts told last: a stopped session still says what became of its packets. */
  readonly ended: Pick<HandlerFigures, 'status'>;
  readonly sharedModels: Pick<SharedModels, 'views'>;
}

export function observeSession(look: SessionLook): ObservedSession {
  const { session_id, epoch, generation, desired } = look.target;
  const handlers = look.target.handlers.map(({ handler_id }) => observeHandler(look, handler_id));
  return { session_id, epoch, generation, desired, state: stateOf(look, handlers), handlers };
}

function stateOf({ target, isBusy, problem }: SessionLook, handlers: readonly ObservedHandler[]): HandlerState {
  if (problem !== null) return 'failed';
  const { desired } = target;
  if (desired === 'stopped') return isBusy ? 'draining' : 'stopped';
  const worst = WORST_FIRST.find((state) => handlers.some((handler) => handler.state === state));
  if (isBusy && worst !== 'failed') return 'preparing';
  return worst ?? desired;
}

function observeHandler(look: SessionLook, handler_id: number): ObservedHandler {
  const { handler, type } = look.resolved.handlers.get(handler_id)!;
  const base = { handler_id, handler_name: handler.handler_name, handler_type: type.handler_type_id };
  const host = look.hosts.findLast((one) => one.handlers.has(handler_id));
  if (host === undefined) return { ...base, ...withoutHost(look, handler_id), pid: null, restarts: 0 };
  const { supervisor } = host;
  const status = supervisor.status(handler_id);
  const ownState = HANDLER_STATE[supervisor.state];
  const problem = supervisor.problem?.message;
  return {
    ...base,
    state: status?.state === 'failed' && ownState !== 'stopped' ? 'failed' : ownState,
    pid: supervisor.pid,
    restarts: supervisor.restarts,
    ...(supervisor.lastExit === null ? {} : { last_exit: supervisor.lastExit }),
    ...(problem === undefined ? {} : { error: problem }),
    ...inferenceOf({
      ...{ session_id: look.target.session_id, handler_id, resolved: look.resolved },
      ...{ threads: host.threads, models: look.sharedModels.views() },
    }),
    ...figures(status),
  };
}

function withoutHost(
  { target, ended, problem }: SessionLook,
  handler_id: number,
): Pick<ObservedHandler, 'state' | 'stats' | 'links'> {
  if (target.desired === 'stopped') return { state: 'stopped', ...figures(ended.status(handler_id)) };
  return { state: problem === null ? 'preparing' : 'failed', links: [] };
}

function figures(status: HostHandlerStatus | undefined): Pick<ObservedHandler, 'stats' | 'links' | 'note'> {
  if (status === undefined) return { links: [] };
  const { stats, links, note } = status;
  return { stats, links: [...links], ...(note === undefined ? {} : { note }) };
}
