/** Which variant of a service a plan runs. */
import { variantLabel } from '../allocation/variants.js';
import type { SessionPlan } from '../contracts/plan.js';
import type { Service, Variant } from '../contracts/service.js';

/** Undefined when the service has changed meanwhile. */
export function variantOf(service: Service, plan: SessionPlan): Variant | undefined {
  return service.variants.find((one) => labelOf(service, one, plan) === plan.variant && fits(one, plan));
}

function labelOf(service: Service, variant: Variant, plan: SessionPlan): string {
  const names = new Map(plan.handlers.map((handler) => [handler.handler_id, handler.alternative]));
  return variantLabel(service, variant, (handler) => names.get(handler.handler_id)!);
}

function fits(variant: Variant, plan: SessionPlan): boolean {
  return (
    variant.handlers.length === plan.handlers.length &&
    variant.handlers.every((handler) => {
      const planned = plan.handlers.find((one) => one.handler_id === handler.handler_id);
      return handler.alternatives.some((one) => one.name === planned?.alternative);
    })
  );
}
