/**
 * From what a user asks for to what the allocator is asked: the service with the session's own parameters in it, the
 * source node, the complete objective. Pure; everything that is wrong with a request is found here, before a plan.
 */
import { OrchestratorError } from '../contracts/errors.js';
import { type HandlerTypeRegistry, parseParams } from '../contracts/handler-type.js';
import type { Objective, PlanRequest } from '../contracts/plan.js';
import type { Alternative, GraphHandler, Service } from '../contracts/service.js';
import type { SessionRequest } from '../contracts/session.js';
import type { NodeRegistry } from './node-registry.js';

/** Frames per second of a session that names none and whose capture has none either (ObjectiveSchema's default). */
const FPS_DEFAULT = 10;

/** Of a session without a capture: pictures are posted to it, now and then. */
const POSTED_FPS_DEFAULT = 1;

/** Type id of capture: the handler that `source` and `fps` are for. */
const CAPTURE = 2;

/** Throws SERVICE_NOT_FOUND with the known names. */
export function findService(services: readonly Service[], ref: number | string): Service {
  const found = services.find((one) => one.service_id === ref || one.service_name === ref);
  if (found !== undefined) return found;
  const known = services.map((one) => one.service_name).join(', ');
  throw new OrchestratorError('SERVICE_NOT_FOUND', `no service is ${JSON.stringify(ref)}; known: ${known || 'none'}`, {
    service: ref,
  });
}

export interface CompleteRequest {
  readonly request: SessionRequest & { readonly objective: Objective; readonly source_node: number };
  readonly plan: PlanRequest;
}

export interface CompleteOptions {
  readonly services: readonly Service[];
  readonly types: HandlerTypeRegistry;
  readonly registry: Pick<NodeRegistry, 'find' | 'all'>;
}

/** Fills in what the request leaves open. Throws SERVICE_NOT_FOUND, NODE_NOT_FOUND, REQUEST_INVALID, HANDLER_PARAMS_INVALID. */
export function completeRequest(request: SessionRequest, options: CompleteOptions): CompleteRequest {
  const service = findService(options.services, request.service);
  const source_node = sourceNode(request, service, options.registry);
  const objective = request.objective ?? { fps: captureFps(service, request, options.types) };
  const complete = { ...request, delivery: request.delivery ?? ('latest' as const), objective, source_node };
  return {
    request: complete,
    plan: {
      // A template without an objective runs as it stands, also with several captures of different rates.
      service: sessionService(service, service.template === null ? complete : request, options.types),
      objective,
      source_node,
      ...wishes(request),
    },
  };
}

/** What a session may ask for beside its objective, as far as it does. */
export function wishes({ variant, weight, stay }: SessionRequest): Pick<PlanRequest, 'variant' | 'weight' | 'stay'> {
  return {
    ...(variant === undefined ? {} : { variant }),
    ...(weight === undefined ? {} : { weight }),
    ...(stay === undefined ? {} : { stay }),
  };
}

function sourceNode(request: SessionRequest, service: Service, registry: CompleteOptions['registry']): number {
  if (request.source_node !== undefined) return registry.find(request.source_node).file.node_id;
  const first = service.template?.[0];
  if (first !== undefined) return registry.find(first.node_id).file.node_id;
  const client = registry.all().find(({ file }) => file.node_type === 'client');
  if (client !== undefined) return client.file.node_id;
  throw new OrchestratorError('REQUEST_INVALID', 'source_node is needed: no node is of node_type client');
}

/**
 * The rate of a session that names none: what its own parameters say, else what the service file sets at capture (a
 * template runs as it stands; elsewhere a rate that is merely the type's default is nobody's wish), else a default.
 */
function captureFps(service: Service, request: SessionRequest, types: HandlerTypeRegistry): number {
  const captures = service.variants.flatMap((variant) => variant.handlers).filter(isCapture);
  const properties = propertiesOf(types.find(CAPTURE)?.params ?? null) as { fps?: { default?: unknown } } | null;
  const typeDefault = service.template === null ? properties?.fps?.default : undefined;
  const given = captures.flatMap((handler) => [
    request.params?.[handler.handler_name]?.fps,
    ...handler.alternatives.map((one) => one.params.fps).filter((fps) => fps !== typeDefault),
  ]);
  const fps = given.find((one) => typeof one === 'number' && one > 0 && one <= 1000);
  return typeof fps === 'number' ? fps : captures.length > 0 ? FPS_DEFAULT : POSTED_FPS_DEFAULT;
}

const isCapture = (handler: GraphHandler): boolean => handler.handler_type === CAPTURE;

/** The service as this session runs it: `params` by handler name, `source` and the objective's fps at capture. */
export function sessionService(service: Service, request: SessionRequest, types: HandlerTypeRegistry): Service {
  const handlers = service.variants.flatMap((variant) => variant.handlers);
  for (const name of Object.keys(request.params ?? {})) {
    if (handlers.some((handler) => handler.handler_name === name)) continue;
    const known = [...new Set(handlers.map((handler) => handler.handler_name))].join(', ');
    throw new OrchestratorError(
      'REQUEST_INVALID',
      `params.${name}: service ${service.service_name} has no handler of that name; it has ${known}`,
      { handler_name: name },
    );
  }
  if (request.source !== undefined && !handlers.some(isCapture)) {
    throw new OrchestratorError(
      'REQUEST_INVALID',
      `source: service ${service.service_name} has no capture handler that could read it`,
    );
  }
  return {
    ...service,
    variants: service.variants.map((variant) => ({
      ...variant,
      handlers: variant.handlers.map((handler) => withOverrides(handler, request, types)),
    })),
  };
}

function withOverrides(handler: GraphHandler, request: SessionRequest, types: HandlerTypeRegistry): GraphHandler {
  const own = request.params?.[handler.handler_name] ?? {};
  const forCapture = isCapture(handler) ? captureOverrides(handler, request) : {};
  const overrides = { ...forCapture, ...own };
  if (Object.keys(overrides).length === 0) return handler;
  const type = types.get(handler.handler_type, `handler ${handler.handler_name}`);
  const where = `params.${handler.handler_name}`;
  const known = propertiesOf(type.params);
  // A service file's unknown parameter is warned of and dropped; one that a user has just typed is a mistake.
  const unknown = known === null ? undefined : Object.keys(normalSpelling(own, known)).find((name) => !(name in known));
  if (unknown !== undefined) {
    throw new OrchestratorError(
      'HANDLER_PARAMS_INVALID',
      `${where}: ${type.handler_type_name} has no parameter ${unknown}; it has ${Object.keys(known!).join(', ') || 'none'}`,
      { handler_name: handler.handler_name },
    );
  }
  // A capture type of one's own need not have `fps`.
  const accepted =
    known === null
      ? overrides
      : Object.fromEntries(Object.entries(normalSpelling(overrides, known)).filter(([name]) => name in known));
  return {
    ...handler,
    alternatives: handler.alternatives.map((one): Alternative => {
      const params = { ...one.params, ...accepted };
      parseParams(type, params, where);
      return { ...one, params };
    }),
  };
}

/** A capture that takes pictures as fast as they are taken (fps 0) goes on doing so; the objective is what is planned for. */
function captureOverrides(handler: GraphHandler, { source, objective }: SessionRequest): Record<string, unknown> {
  const unpaced = handler.alternatives.every((one) => one.params.fps === 0);
  return {
    ...(source === undefined ? {} : { source }),
    ...(objective === undefined || unpaced ? {} : { fps: objective.fps }),
  };
}

/** Names of a type's parameters; null for one that is declared by file only, which takes everything. */
function propertiesOf(params: unknown): object | null {
  return (params as { properties?: object } | null)?.properties ?? null;
}

/** The reference spells it `tresh`. */
function normalSpelling(params: Record<string, unknown>, known: object): Record<string, unknown> {
  if (!('tresh' in params) || 'tresh' in known || 'thresh' in params) return params;
  const { tresh, ...rest } = params;
  return { ...rest, thresh: tresh };
}
