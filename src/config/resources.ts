/**
 * Node files, handler type files and service files. A bad file is refused by name with its reason and the rest still
 * loads; of two files with the same id the first (by file name) is kept and the second is a problem.
 */
import { readdirSync, statSync } from 'node:fs';
import { extname, join } from 'node:path';
import { type ErrorCode, OrchestratorError, toOrchestratorError } from '../contracts/errors.js';
import { type HandlerTypeFile, HandlerTypeFileSchema, type HandlerTypeRegistry } from '../contracts/handler-type.js';
import { type NodeFile, NodeFileSchema } from '../contracts/node.js';
import { parseWith } from '../contracts/schema.js';
import { normalizeService, type Service } from '../contracts/service.js';
import { DOCUMENT_EXTENSIONS, readDocument } from './documents.js';

export interface Loaded<T> {
  readonly items: T[];
  readonly problems: OrchestratorError[];
  /** Not wrong, but worth a line in the log. */
  readonly warnings: string[];
}

/** The .json, .yaml and .yml files of a directory by name; a single file stands for itself. */
export function documentFiles(path: string): string[] {
  try {
    if (statSync(path).isFile()) return [path];
    return readdirSync(path, { withFileTypes: true })
      .filter((entry) => !entry.isDirectory() && DOCUMENT_EXTENSIONS.includes(extname(entry.name).toLowerCase()))
      .map((entry) => join(path, entry.name))
      .sort();
  } catch (error) {
    throw new OrchestratorError('CONFIG_UNREADABLE', `${path}: ${(error as Error).message}`, { file: path });
  }
}

export function loadNodeFiles(files: readonly string[]): Loaded<NodeFile> {
  return load(files, 'NODE_FILE_INVALID', (value, file, kept) => {
    const node = parseWith(NodeFileSchema, value, 'NODE_FILE_INVALID', file);
    const other = kept.find(([one]) => one.node_id === node.node_id);
    if (other === undefined) return node;
    throw new OrchestratorError('NODE_DUPLICATE', `${file}: node_id ${node.node_id} is already in ${other[1]}`, {
      node_id: node.node_id,
      kept: other[1],
    });
  });
}

/** Declares each type to `types`, which is what loadServiceFiles then reads. */
export function loadHandlerTypeFiles(files: readonly string[], types: HandlerTypeRegistry): Loaded<HandlerTypeFile> {
  return load(files, 'HANDLER_TYPE_FILE_INVALID', (value, file) => {
    const declared = parseWith(HandlerTypeFileSchema, value, 'HANDLER_TYPE_FILE_INVALID', file);
    try {
      types.declare(declared);
    } catch (error) {
      const { code, message, context } = toOrchestratorError(error);
      throw new OrchestratorError(code, `${file}: ${message}`, context);
    }
    return declared;
  });
}

export function loadServiceFiles(files: readonly string[], types: HandlerTypeRegistry): Loaded<Service> {
  const loaded = load<Service>(files, 'SERVICE_FILE_INVALID', (value, file, kept) => {
    const service = normalizeService(value, types, file);
    for (const [other, otherFile] of kept) {
      const same =
        other.service_id === service.service_id
          ? `service_id ${service.service_id}`
          : other.service_name === service.service_name
            ? `service_name ${service.service_name}`
            : null;
      if (same === null) continue;
      throw new OrchestratorError('SERVICE_DUPLICATE', `${file}: ${same} is already in ${otherFile}`, {
        kept: otherFile,
      });
    }
    return service;
  });
  return { ...loaded, warnings: loaded.items.flatMap((service) => [...service.warnings]) };
}

type Reader<T> = (value: unknown, file: string, kept: readonly (readonly [T, string])[]) => T;

function load<T>(files: readonly string[], malformed: ErrorCode, read: Reader<T>): Loaded<T> {
  const kept: [T, string][] = [];
  const problems: OrchestratorError[] = [];
  for (const file of files) {
    try {
      kept.push([read(readDocument(file, malformed), file, kept), file]);
    } catch (error) {
      const { code, message, context } = toOrchestratorError(error);
      problems.push(new OrchestratorError(code, message, { file, ...context }));
    }
  }
  return { items: kept.map(([item]) => item), problems, warnings: [] };
}
