/**
 * The error catalogue: one row per thing that can go wrong where a program or a person must tell it apart.
 * `code` is for programs, `message` for people (it names the value and the bound), `status` for HTTP.
 * docs/errors.md lists every row; test/errors.test.ts holds code and page together both ways.
 */

interface CatalogueRow {
  readonly status: number;
  /** What it means and what to do, for docs/errors.md. */
  readonly help: string;
}

export const ERROR_CATALOGUE = {
  // configuration and resource files
  CONFIG_UNREADABLE: {
    status: 400,
    help: 'A configuration file cannot be opened; check the path and its permissions.',
  },
  CONFIG_MALFORMED: { status: 400, help: 'A configuration file is not valid INI, JSON or YAML; the place is named.' },
  CONFIG_INVALID: {
    status: 400,
    help: 'A configuration value has the wrong type, is out of range, or its key is unknown.',
  },
  NODE_FILE_INVALID: { status: 400, help: 'A node file is refused; the field is named. Other files still load.' },
  NODE_DUPLICATE: { status: 409, help: 'Two node files have the same node_id; the first one read is kept.' },
  HANDLER_TYPE_FILE_INVALID: {
    status: 400,
    help: 'A handler type file is refused; the field is named. Other files still load.',
  },
  HANDLER_TYPE_UNKNOWN: {
    status: 400,
    help: 'A handler names a type that is neither built in nor declared in handler_type_path.',
  },
  SERVICE_FILE_INVALID: { status: 400, help: 'A service file is refused; the field is named. Other files still load.' },
  SERVICE_DUPLICATE: {
    status: 409,
    help: 'Two service files have the same service_id or service_name; the first one read is kept.',
  },
  // blueprints
  HANDLER_DUPLICATE: { status: 400, help: 'Two handlers of one blueprint have the same handler_id.' },
  HANDLER_PARAMS_INVALID: { status: 400, help: 'A handler parameter has the wrong type or is out of range.' },
  LINK_UNKNOWN_HANDLER: { status: 400, help: 'A link names a handler_id that the blueprint does not have.' },
  LINK_UNKNOWN_PORT: { status: 400, help: 'A link names an input or output that the handler type does not have.' },
  LINK_TYPE_MISMATCH: {
    status: 400,
    help: 'A link joins an output to an input that does not accept its payload type.',
  },
  LINK_DUPLICATE_INPUT: {
    status: 400,
    help: 'Two links feed the same input; join them with a handler of several inputs.',
  },
  PORT_UNLINKED: { status: 400, help: 'An input has no link and the handler does not say "post": true.' },
  GRAPH_CYCLE: { status: 400, help: 'The links of a blueprint form a cycle; packets flow one way.' },
  // sessions
  SERVICE_NOT_FOUND: {
    status: 404,
    help: 'No loaded service has that name or id; `orchestrator service list` shows them.',
  },
  ALLOCATOR_INVALID: {
    status: 400,
    help: 'An algorithm for `plan` is not known, cannot be loaded, or made a plan that breaks a constraint.',
  },
  SCENARIO_NOT_FOUND: {
    status: 404,
    help: 'No scenario has that name; `orchestrator simulate` lists them.',
  },
  FLEET_SNAPSHOT_INVALID: {
    status: 400,
    help: 'A snapshot for `plan` is refused; the place (JSON pointer) and the rule are named.',
  },
  VARIANT_NOT_FOUND: { status: 404, help: 'The service has no variant of that name.' },
  SESSION_NOT_FOUND: { status: 404, help: 'No session has that id.' },
  SESSION_EXISTS: { status: 409, help: 'The session id is in use on this node or coordinator.' },
  SESSION_NOT_INITIALIZED: { status: 409, help: 'start needs a session whose handlers are all ready.' },
  SESSION_RUNNING: { status: 409, help: 'The session is running: start it once, stop it before delete.' },
  SESSION_STOPPED: { status: 409, help: 'A stopped session cannot be started again; create a new one.' },
  MOVE_REFUSED: {
    status: 409,
    help: 'The handler cannot run on that node, or cannot be moved now; the message says why.',
  },
  APPLY_REFUSED: {
    status: 409,
    help: 'The definition cannot take the place of the loaded one; the message says why. Sessions that cannot take it are named in the answer.',
  },
  SESSION_REFUSED: {
    status: 409,
    help: 'No placement meets the objective; the reasons and the nearest objective that fits are attached.',
  },
  NOT_LEADER: {
    status: 503,
    help: 'Another coordinator leads, or none does yet; `context.leader` says where it is. Ask there, or again.',
  },
  SESSION_STALE: { status: 409, help: 'The request has an older epoch or generation than the node has already seen.' },
  // nodes and handlers
  NODE_NOT_FOUND: { status: 404, help: 'No node has that id or name; `orchestrator node list` shows them.' },
  NODE_UNREACHABLE: { status: 502, help: 'A node agent does not answer at its address.' },
  HANDLER_NOT_FOUND: { status: 404, help: 'The session has no handler of that id on this node.' },
  HANDLER_FAILED: {
    status: 500,
    help: 'A handler could not be created or keeps failing; its own message is attached.',
  },
  HANDLER_TIMEOUT: { status: 504, help: 'A handler did not become ready within the prepare time-out.' },
  MODEL_EXITED: {
    status: 500,
    help: 'A model process, which several handlers of a node share, ended while a packet was in it; it is started again.',
  },
  DEADLINE_PASSED: {
    status: 504,
    help: 'The deadline of a packet passed while it waited for a shared model; it counts as late.',
  },
  SHARE_UNSUPPORTED: {
    status: 400,
    help: 'A file says "share" of a handler type whose models cannot be shared by the sessions of a node.',
  },
  HOST_EXITED: { status: 500, help: 'A handler host (subprocess) ended unexpectedly; it is restarted with backoff.' },
  HANDLER_STALLED: {
    status: 500,
    help: 'A handler answers but does not end a packet in many times its usual time; its host is restarted, and when it hangs again the handler runs elsewhere.',
  },
  // vision
  MODEL_NOT_FOUND: { status: 404, help: 'The catalogue has no model of that name, or its file is not there.' },
  MODEL_INVALID: { status: 400, help: 'A model file cannot be converted or loaded.' },
  PICTURE_INVALID: { status: 400, help: 'A picture cannot be decoded (corrupt, truncated or of an unknown format).' },
  PICTURE_TOO_LARGE: { status: 413, help: 'A picture has more pixels than are accepted.' },
  DATASET_INVALID: {
    status: 400,
    help: 'A folder to evaluate on is missing or empty, or its annotations or pairs are wrong.',
  },
  GALLERY_INVALID: { status: 400, help: 'A gallery folder is missing, empty, or no face was found in it.' },
  GPU_UNAVAILABLE: { status: 400, help: 'gpu: true was asked for, but no CUDA provider is there.' },
  SOURCE_FORBIDDEN: {
    status: 403,
    help: 'A file, device, address or output path lies outside what the operator of the node allowed ([sources] allow).',
  },
  SOURCE_NOT_FOUND: { status: 404, help: 'A source names no readable picture or video.' },
  FFMPEG_MISSING: {
    status: 400,
    help: 'Video files, streams, cameras and MP4 output need the ffmpeg program on the PATH of the node.',
  },
  COMMAND_FORBIDDEN: {
    status: 403,
    help: 'A handler names a command that the operator of the node did not allow ([external] commands), word for word.',
  },
  // links
  LINK_PROTOCOL: { status: 400, help: 'A peer sent bytes that are not the link protocol, or broke one of its bounds.' },
  PROBE_BUSY: { status: 503, help: 'The node measures another path now, or is measured; ask again later.' },
  LINK_BUSY: { status: 503, help: 'The input cannot take a posted packet now; try again after Retry-After seconds.' },
  PROGRAMS_FULL: {
    status: 409,
    help: 'As many programs have joined an external handler as it takes; end one of them first.',
  },
  PAYLOAD_TYPE_UNSUPPORTED: {
    status: 415,
    help: 'The content-type of a posted packet is not one that the input accepts.',
  },
  // reports and database
  REPORT_INVALID: { status: 400, help: 'A report is malformed; nothing of it is stored.' },
  REPORT_UNKNOWN_NODE: { status: 403, help: 'A report comes from an address (or node_id) that no node file has.' },
  COLLECTOR_BUSY: {
    status: 429,
    help: 'The collector has more rows waiting than it may hold; send again after Retry-After seconds.',
  },
  DATABASE_UNAVAILABLE: { status: 503, help: 'The database cannot be opened or written.' },
  DATABASE_ENGINE_UNSUPPORTED: {
    status: 400,
    help: 'The database server is too old, or the package mysql2 that speaks to it is not installed.',
  },
  SQL_REFUSED: { status: 400, help: 'The statement is not a single read-only query, or the database refused it.' },
  // HTTP and access
  REQUEST_INVALID: { status: 400, help: 'A request does not fit its schema; the field is named.' },
  REQUEST_TOO_LARGE: { status: 413, help: 'A request body is over its bound.' },
  ROUTE_NOT_FOUND: { status: 404, help: 'No such address in this API.' },
  TOKEN_MISSING: { status: 401, help: 'The API needs `authorization: Bearer TOKEN`.' },
  TOKEN_INVALID: { status: 403, help: 'The bearer token is not the configured one.' },
  TOKEN_REQUIRED: {
    status: 400,
    help: 'Listening off loopback needs a token ([security] token or ORCHESTRATOR_TOKEN), or --insecure.',
  },
  ADDRESS_IN_USE: { status: 409, help: 'The listening address is taken by another process.' },
  SERVICE_UNREACHABLE: { status: 502, help: 'The coordinator or collector does not answer at its address.' },
  FILE_UNWRITABLE: { status: 500, help: 'A file cannot be written; the message has the cause. No part of it is left.' },
  USAGE: { status: 400, help: 'A command line has a missing or wrong argument.' },
  INTERNAL: { status: 500, help: 'A fault of the program itself; the log has the stack. Please report it.' },
} as const satisfies Record<string, CatalogueRow>;

export type ErrorCode = keyof typeof ERROR_CATALOGUE;

/** RFC 9457 body. `code` is ours; `context` says where (file, field, handler_id ...). */
export interface Problem {
  type: string;
  title: string;
  status: number;
  detail: string;
  code: ErrorCode;
  context?: Record<string, unknown>;
}

/** The only error class that crosses a boundary on purpose. The message gives the value and the bound. */
export class OrchestratorError extends Error {
  override readonly name = 'OrchestratorError';
  readonly code: ErrorCode;
  readonly context: Record<string, unknown>;

  constructor(code: ErrorCode, message: string, context: Record<string, unknown> = {}, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.context = context;
  }

  get status(): number {
    return ERROR_CATALOGUE[this.code].status;
  }

  toProblem(): Problem {
    return {
      type: `urn:orchestrator:error:${this.code.toLowerCase()}`,
      title: this.code.toLowerCase().replaceAll('_', ' '),
      status: this.status,
      detail: this.message,
      code: this.code,
      ...(Object.keys(this.context).length > 0 ? { context: this.context } : {}),
    };
  }

  /** A peer's problem+json body back into the error that it was; foreign bodies become `fallback`. */
  static fromProblem(body: unknown, fallback: ErrorCode, message: string): OrchestratorError {
    if (typeof body === 'object' && body !== null && 'code' in body && 'detail' in body) {
      const { code, detail, context } = body as Partial<Problem>;
      if (typeof code === 'string' && code in ERROR_CATALOGUE && typeof detail === 'string') {
        return new OrchestratorError(code, detail, context ?? {});
      }
    }
    return new OrchestratorError(fallback, message);
  }
}

/** Any thrown value as an OrchestratorError; unknown ones become INTERNAL and keep their cause. */
export function toOrchestratorError(thrown: unknown): OrchestratorError {
  if (thrown instanceof OrchestratorError) return thrown;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return new OrchestratorError('INTERNAL', message, {}, { cause: thrown });
}
