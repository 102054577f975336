/** The nodes as the coordinator sees them, and emptying one before maintenance. */
import Type from '#vendor/typebox.js';
import { type NodeView, NodeViewSchema } from '../contracts/node.js';
import type { HttpServer } from '../http-server/http-server.js';
import type { Drains } from './drains.js';
import { idOrName } from './link-routes.js';
import type { NodePace } from './node-pace.js';
import type { NodeRegistry, RegisteredNode } from './node-registry.js';

export interface NodeRoutesOptions {
  readonly registry: NodeRegistry;
  readonly drains: Drains;
  readonly pace: Pick<NodePace, 'factorOf'>;
}

const NodePath = Type.Object({ node: Type.String({ minLength: 1, description: 'node_id or node_name' }) });

function nodeView({ registry, drains, pace }: NodeRoutesOptions, node: RegisteredNode): NodeView {
  return registry.view(node, { drain: drains.view(node), slowness: pace.factorOf(node.file.node_id) });
}

export function nodeViews(options: NodeRoutesOptions): NodeView[] {
  return options.registry.all().map((node) => nodeView(options, node));
}

export function nodeRoutes(app: HttpServer, options: NodeRoutesOptions): void {
  const { drains } = options;
  app.get(
    '/v1/nodes',
    { schema: { summary: 'Every node, as the coordinator sees it', response: { 200: Type.Array(NodeViewSchema) } } },
    async () => nodeViews(options),
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
      return reply.code(202).send(nodeView(options, node));
    },
  );
  app.post(
    '/v1/nodes/:node/undrain',
    { schema: { summary: 'Use the node again', params: NodePath, response: { 200: NodeViewSchema } } },
    async (request) => {
      const node = await drains.undrain(idOrName(request.params.node));
      return nodeView(options, node);
    },
  );
}
