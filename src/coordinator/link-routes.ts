/** The network between nodes: what is known of it, and a measurement on demand. */
import Type from '#vendor/typebox.js';
import { type NodeLink, NodeLinkSchema } from '../client/answers.js';
import { OrchestratorError } from '../contracts/errors.js';
import type { HttpServer } from '../http-server/http-server.js';
import { linkFigures } from './link-figures.js';
import type { LinkProbes } from './link-probes.js';
import type { LinkTable } from './link-table.js';
import type { NodeRegistry, RegisteredNode } from './node-registry.js';

export interface LinkRoutesOptions {
  readonly registry: NodeRegistry;
  readonly links: LinkTable;
  readonly probes: LinkProbes;
}

/** Rows of one answer: every pair of a hundred nodes; of more nodes, `node` picks. */
const ROWS_MAX = 10_000;

const NodeRef = Type.Union([Type.Integer({ minimum: 0 }), Type.String({ minLength: 1 })], {
  description: 'node_id or node_name',
});

export function linkRoutes(app: HttpServer, { registry, links, probes }: LinkRoutesOptions): void {
  const view = (source: RegisteredNode, target: RegisteredNode): NodeLink => ({
    ...{ source_node: source.file.node_id, source_name: source.file.node_name },
    ...{ target_node: target.file.node_id, target_name: target.file.node_name },
    ...linkFigures(source, target, links),
  });
  app.get(
    '/v1/links',
    {
      schema: {
        summary: 'Round trip and rate between every two nodes, and where each figure comes from',
        querystring: Type.Object(
          { node: Type.Optional(Type.String({ description: 'Only links from or to this node_id or node_name' })) },
          { additionalProperties: false },
        ),
        response: { 200: Type.Array(NodeLinkSchema, { maxItems: ROWS_MAX }) },
      },
    },
    async (request) => {
      const nodes = registry.all();
      const only = request.query.node === undefined ? null : registry.find(idOrName(request.query.node));
      const isAsked = (one: RegisteredNode, other: RegisteredNode) =>
        one !== other && (only === null || [one, other].some(({ file }) => file === only.file));
      const rows: NodeLink[] = [];
      for (const source of nodes) {
        for (const target of nodes) {
          if (rows.length < ROWS_MAX && isAsked(source, target)) rows.push(view(source, target));
        }
      }
      return rows;
    },
  );
  app.post(
    '/v1/links/probe',
    {
      schema: {
        summary: 'Measure the path from one node to another now, whatever they run',
        body: Type.Object({ source_node: NodeRef, target_node: NodeRef }, { additionalProperties: false }),
        response: { 200: NodeLinkSchema },
      },
    },
    async (request) => {
      const source = registry.find(request.body.source_node);
      const target = registry.find(request.body.target_node);
      if (source === target) {
        const message = `source_node and target_node are both ${source.file.node_name}; a path has two ends`;
        throw new OrchestratorError('REQUEST_INVALID', message);
      }
      await probes.measure(source, target);
      return view(source, target);
    },
  );
}

/** Digits are an id. */
export function idOrName(text: string): number | string {
  return /^\d{1,15}$/.test(text) ? Number(text) : text;
}
