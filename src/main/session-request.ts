/** Parameters of a session by what a handler is, not by its name: services name their handlers as they like. */
import type { ServiceView } from '../client/index.js';
import { OrchestratorError } from '../contracts/errors.js';

export type HandlerParams = Record<string, Record<string, unknown>>;

/** handler_type_name -> parameters. Types that the service does not have are left out. */
export type ParamsByType = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

export function findService(services: readonly ServiceView[], ref: string | number): ServiceView {
  const service = services.find((one) => one.service_name === ref || one.service_id === ref);
  if (service !== undefined) return service;
  const known = services.map((one) => one.service_name).join(', ') || 'none';
  throw new OrchestratorError('SERVICE_NOT_FOUND', `no service is ${JSON.stringify(ref)}; there are ${known}`);
}

/** Every handler of the service whose type is named gets the parameters; `extra` (by handler name) wins. */
export function paramsFor(service: ServiceView, byType: ParamsByType, extra: HandlerParams = {}): HandlerParams {
  const params: HandlerParams = {};
  for (const { handler_name, handler_type_name } of service.variants.flatMap((variant) => variant.handlers)) {
    const given = byType[handler_type_name];
    if (given !== undefined) params[handler_name] = { ...given };
  }
  for (const [name, given] of Object.entries(extra)) params[name] = { ...params[name], ...given };
  return params;
}
