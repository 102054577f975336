/**
 * The reference's control protocol, `POST /` with `{"action": "init" | "start" | "stop" | "delete", "session_id": n}`:
 *
 *     (none) --init--> ready --start--> running --stop--> stopped --delete--> (none)
 *                        |  \__________________stop__________^
 *                        +--delete--> (none)
 *
 * init answers when every handler has loaded its model, or within 30 s why not, and then leaves nothing behind; a stopped
 * session cannot be started again; a running one cannot be deleted.
 */
import { join } from 'node:path';
import Type, { type Static } from '#vendor/typebox.js';
import { BlueprintSchema, checkOpenInputs, type NodeSession, resolveBlueprint } from '../contracts/blueprint.js';
import { OrchestratorError } from '../contracts/errors.js';
import type { HandlerTypeRegistry } from '../contracts/handler-type.js';
import type { ReferenceAnswer } from '../contracts/report.js';
import { parseWith } from '../contracts/schema.js';
import { setAside } from './outputs.js';
import type { Session } from './session.js';
import type { SessionManager } from './session-manager.js';
import { joinTxAndRx, type RxPorts } from './tx-rx.js';

const SessionId = Type.Integer({ minimum: 0 });

const InitSchema = Type.Object({ action: Type.Literal('init'), session_id: SessionId, blueprint: BlueprintSchema });
const OtherSchema = Type.Object({ action: Type.Enum(['start', 'stop', 'delete']), session_id: SessionId });

export interface ReferenceActionsOptions {
  readonly sessions: SessionManager;
  readonly types: HandlerTypeRegistry;
  readonly outputsDir: string;
  readonly rxPorts: RxPorts;
  /** Whether this node's ports speak TLS; then those of the others do too. */
  readonly isTls: boolean;
}

/** Does what `body` asks; throws why it cannot be done. */
export async function referenceAction(body: unknown, options: ReferenceActionsOptions): Promise<ReferenceAnswer> {
  const action = (body as { action?: unknown } | null)?.action;
  if (action === 'init') await init(parseWith(InitSchema, body, 'REQUEST_INVALID', 'init'), options);
  else if (action === 'start' || action === 'stop' || action === 'delete') {
    await change(parseWith(OtherSchema, body, 'REQUEST_INVALID', action), options);
  } else {
    const given = JSON.stringify(action)?.slice(0, 60) ?? 'absent';
    throw new OrchestratorError('REQUEST_INVALID', `action is ${given}; it must be init, start, stop or delete`);
  }
  return { result: 'Succeeded' };
}

async function init({ session_id, blueprint }: Static<typeof InitSchema>, options: ReferenceActionsOptions) {
  const { sessions, types, outputsDir, rxPorts } = options;
  const where = `session ${session_id}`;
  const node_id = sessions.nodeId ?? 0;
  const joined = joinTxAndRx(blueprint, { types, where, nodeId: node_id, tls: options.isTls });
  const share = { handlers: [...joined.handlers], links: [...joined.links] };
  checkOpenInputs(share.links, resolveBlueprint(share, { types, where, partial: true }).handlers, where);
  const wanted: NodeSession = {
    ...{ session_id, node_id, epoch: 0, generation: 0, desired: 'ready', delivery: 'latest' },
    ...share,
  };
  const free = sessions.find(session_id, 'reference') === undefined;
  if (free) await setAside(join(outputsDir, String(session_id)));
  const session = sessions.create(wanted, 'reference');
  try {
    await rxPorts.open(session_id, joined.rx);
    await session.settle();
  } catch (error) {
    rxPorts.close(session_id);
    await session.close();
    sessions.forget(session_id, session);
    throw error;
  }
  if (sessions.find(session_id, 'reference') !== session || session.target.desired !== 'ready') {
    throw new OrchestratorError('SESSION_NOT_INITIALIZED', `session ${session_id} was ended while it was initialized`);
  }
}

async function change(
  { action, session_id }: Static<typeof OtherSchema>,
  { sessions, rxPorts }: ReferenceActionsOptions,
) {
  const session = sessions.find(session_id, 'reference');
  if (session === undefined) {
    const other = sessions.find(session_id, 'coordinator') === undefined;
    throw other
      ? new OrchestratorError('SESSION_NOT_FOUND', `no session ${session_id} on this node`)
      : new OrchestratorError('SESSION_EXISTS', `session ${session_id} belongs to a coordinator; ask it to ${action}`);
  }
  if (action === 'start') await start(session);
  else if (action === 'stop') {
    session.apply({ ...session.target, desired: 'stopped' });
    await session.settle();
  } else await remove(session, sessions, rxPorts);
}

async function start(session: Session): Promise<void> {
  const { session_id } = session;
  const { state } = session.observe();
  const { desired } = session.target;
  if (desired === 'running') throw new OrchestratorError('SESSION_RUNNING', `session ${session_id} is running already`);
  if (desired === 'stopped') {
    throw new OrchestratorError('SESSION_STOPPED', `session ${session_id} was stopped and cannot be started again`);
  }
  if (state !== 'ready') {
    throw new OrchestratorError('SESSION_NOT_INITIALIZED', `session ${session_id} is ${state}, not yet ready`);
  }
  session.apply({ ...session.target, desired: 'running' });
  await session.settle();
}

async function remove(session: Session, sessions: SessionManager, rxPorts: RxPorts): Promise<void> {
  const { session_id } = session;
  if (session.target.desired === 'running' && session.observe().state !== 'failed') {
    throw new OrchestratorError('SESSION_RUNNING', `session ${session_id} is running; stop it before delete`);
  }
  rxPorts.close(session_id);
  await session.close();
  sessions.forget(session_id, session);
}
