/** Node, handler type and service files as the daemons load them: problems are logged by name, the rest is used. */
import {
  documentFiles,
  type Loaded,
  loadHandlerTypeFiles,
  loadNodeFiles,
  loadServiceFiles,
} from '../config/resources.js';
import type { HandlerTypeRegistry } from '../contracts/handler-type.js';
import type { NodeFile } from '../contracts/node.js';
import type { Service } from '../contracts/service.js';
import type { Logger } from '../std/logger.js';
import { builtInTypes } from './handler-types.js';

export interface Resources {
  readonly nodes: readonly NodeFile[];
  readonly services: readonly Service[];
  readonly types: HandlerTypeRegistry;
}

export interface ResourcePaths {
  readonly nodePath: string;
  readonly handlerTypePath: string | null;
  readonly serviceTypePath: string;
}

/** Throws CONFIG_UNREADABLE when a directory itself cannot be read. */
export function loadResources(paths: ResourcePaths, logger: Logger): Resources {
  const types = builtInTypes();
  const nodes = loadNodes(paths.nodePath, logger);
  if (paths.handlerTypePath !== null) logged(loadHandlerTypeFiles(documentFiles(paths.handlerTypePath), types), logger);
  const services = logged(loadServiceFiles(documentFiles(paths.serviceTypePath), types), logger);
  return { nodes, services, types };
}

export function loadNodes(nodePath: string, logger: Logger): NodeFile[] {
  return logged(loadNodeFiles(documentFiles(nodePath)), logger);
}

function logged<T>({ items, problems, warnings }: Loaded<T>, logger: Logger): T[] {
  for (const problem of problems) logger.error({ code: problem.code, ...problem.context }, problem.message);
  for (const warning of warnings) logger.warn({}, warning);
  return items;
}
