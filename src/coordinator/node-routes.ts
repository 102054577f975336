/** The nodes as the coordinator sees them, and emptying one before maintenance. */
import Type from 'typebox';
import { type NodeView, NodeViewSchema } from '../contracts/node.js';
import type { HttpServer } from '../http-server/http-server.js';
import type { Drains } from './drains.js';
import { idOrName } from './link-routes.js';
import type { NodeRegistry } from './node-registry.js';

export interface NodeRoutesOptions {
  readonly registry: NodeRegistry;
  readonly drains: Drains;
}

const NodePath = Type.Object({ node: Type.String({ minLength: 1, description: 'node_id or node_name' }) });

export function nodeViews(registry: NodeRegistry, drains: Drains): NodeView[] {
  return registry.all().map((node) => registry.view(node, drains.view(node)));
}

export function nodeRoutes(app: HttpServer, { registry, drains }: NodeRoutesOptions): void {
  app.get(
    '/v1/nodes',
    { schema: { summary: 'Every node, as the coordinator sees it', response: { 200: Type.Array(NodeViewSchema) } } },
    async () => nodeViews(registry, drains),
  );
  app.post(
    '/v1/nodes/:node/drain',
    {
      schema: {
        summary:
          'Take no new handlers on this node, and move away those that can; `drain` of the node tells how far it is',
        params: NodePath,
        response: { 202: NodeViewSchema },
      },
    },
    async (request, reply) => {
      const node = await drains.drain(idOrName(request.params.node));
      return reply.code(202).send(registry.view(node, drains.view(node)));
    },
  );
  app.post(
    '/v1/nodes/:node/undrain',
    { schema: { summary: 'Use the node again', params: NodePath, response: { 200: NodeViewSchema } } },
    async (request) => {
      const node = await drains.undrain(idOrName(request.params.node));
      return registry.view(node, drains.view(node));
    },
  );
}
