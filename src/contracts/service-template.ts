/** The reference's services: a fixed placement, nodes joined by tx and rx handlers, which become links here. */
import type { Static } from '#vendor/typebox.js';
import type { BlueprintHandlerSchema, BlueprintLink } from './blueprint.js';
import { OrchestratorError } from './errors.js';
import type { HandlerTypeRegistry } from './handler-type.js';
import type { Service } from './service.js';
import type { ServiceFile } from './service-file.js';
import { checkServiceShare, graphForm } from './service-graph.js';

const TX = 0;
const RX = 1;

interface TxRx {
  readonly node_id: number;
  readonly handler_id: number;
  readonly addr: string;
  readonly port: number;
}

/**
 * A static template. The reference joins nodes by a tx handler on one and an rx on the other; here each such pair
 * becomes a link from what feeds the tx to what the rx feeds. Pairs are matched by the tx's `port` to the rx's `port`
 * when both are given, else in the order in which they stand.
 */
export function templateForm(
  { template = [], share }: ServiceFile,
  types: HandlerTypeRegistry,
  where: string,
  warnings: string[],
): Pick<Service, 'template' | 'variants'> {
  const senders: TxRx[] = [];
  const receivers: TxRx[] = [];
  const handlers: Static<typeof BlueprintHandlerSchema>[] = [];
  const links: BlueprintLink[] = [];
  const placement: { node_id: number; handler_ids: number[] }[] = [];
  for (const { node_id, blueprint } of template) {
    const handler_ids: number[] = [];
    for (const handler of blueprint.handlers) {
      const type = types.get(handler.handler_type, `${where}: node ${node_id}: handler ${handler.handler_id}`);
      const end = {
        node_id,
        handler_id: handler.handler_id,
        addr: String(handler.params.addr ?? ''),
        port: Number(handler.params.port ?? 0),
      };
      if (type.handler_type_id === TX) senders.push(end);
      else if (type.handler_type_id === RX) receivers.push(end);
      else {
        handlers.push(handler);
        handler_ids.push(handler.handler_id);
      }
    }
    links.push(...blueprint.links);
    placement.push({ node_id, handler_ids });
  }
  const joined = joinTxRx(senders, receivers, links, where);
  const variant = graphForm({
    variant: { variant_name: 'template', accuracy: 1 },
    handlers: handlers.map((handler) => ({
      ...handler,
      at: placement.find((part) => part.handler_ids.includes(handler.handler_id))!.node_id,
    })),
    links: joined,
    types,
    place: where,
    warnings,
    serviceShare: share,
  });
  checkServiceShare({ share }, [variant], types, where);
  return { template: placement, variants: [variant] };
}

function joinTxRx(
  senders: readonly TxRx[],
  receivers: readonly TxRx[],
  links: readonly BlueprintLink[],
  where: string,
): BlueprintLink[] {
  const ends = new Set([...senders, ...receivers].map((end) => end.handler_id));
  const joined = links.filter((link) => !ends.has(link.source_handler) && !ends.has(link.target_handler));
  const free = [...receivers];
  for (const sender of senders) {
    const match =
      free.findIndex((one) => one.node_id !== sender.node_id && sender.port !== 0 && one.port === sender.port) >= 0
        ? free.findIndex((one) => one.node_id !== sender.node_id && one.port === sender.port)
        : free.findIndex((one) => one.node_id !== sender.node_id);
    const receiver = free.splice(match, match >= 0 ? 1 : 0)[0];
    const feed = links.find((link) => link.target_handler === sender.handler_id);
    if (receiver === undefined || feed === undefined) {
      throw new OrchestratorError(
        'SERVICE_FILE_INVALID',
        `${where}: tx handler ${sender.handler_id} on node ${sender.node_id} ${feed === undefined ? 'has no link' : 'has no rx on another node'}`,
      );
    }
    for (const out of links.filter((link) => link.source_handler === receiver.handler_id)) {
      joined.push({ ...out, source_handler: feed.source_handler, source_output: feed.source_output });
    }
  }
  if (free.length > 0) {
    const rest = free.map((one) => `${one.handler_id} on node ${one.node_id}`).join(', ');
    throw new OrchestratorError('SERVICE_FILE_INVALID', `${where}: rx handler ${rest} has no tx on another node`);
  }
  return joined;
}
