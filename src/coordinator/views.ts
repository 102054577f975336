/** Services and handler types as the API shows them. */
import type { HandlerTypeView, ServiceView } from '../client/answers.js';
import type { HandlerType } from '../contracts/handler-type.js';
import type { Service } from '../contracts/service.js';

export function serviceView({
  service_id,
  service_name,
  description,
  template,
  warnings,
  variants,
}: Service): ServiceView {
  return {
    ...{ service_id, service_name, description },
    template: template !== null,
    warnings: [...warnings],
    variants: variants.map(({ variant_name, accuracy, dataset, handlers, links }) => ({
      ...{ variant_name, accuracy, dataset },
      handlers: handlers.map(({ handler_id, handler_name, handler_type, handler_type_name, at, alternatives }) => ({
        ...{ handler_id, handler_name, handler_type, handler_type_name, at },
        alternatives: alternatives.map((one) => one.name),
      })),
      links: [...links],
    })),
  };
}

export function handlerTypeView(type: HandlerType): HandlerTypeView {
  const { handler_type_id, handler_type_name, description, params, cost } = type;
  return {
    ...{ handler_type_id, handler_type_name, description, params, cost },
    aliases: [...type.aliases],
    inputs: [...type.inputs],
    outputs: [...type.outputs],
  };
}
