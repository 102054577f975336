/**
 * The one way from untrusted JSON to a typed value: check against a TypeBox schema, and on failure throw an
 * OrchestratorError that names the place and the rule. Schemas are the single source of types, validation and OpenAPI.
 */
import type { Static, TSchema } from '#vendor/typebox.js';
import { Compile, type Validator, Value } from '#vendor/typebox.js';
import { type ErrorCode, OrchestratorError } from './errors.js';

const compiled = new WeakMap<object, Validator>();

function validatorOf(schema: TSchema): Validator {
  let validator = compiled.get(schema);
  if (validator === undefined) {
    validator = Compile(schema) as Validator;
    compiled.set(schema, validator);
  }
  return validator;
}

/** Human-readable faults of `value`, most specific first: `/handlers/0/params/quality must be <= 100 (is 250)`. */
export function schemaFaults(schema: TSchema, value: unknown): string[] {
  const validator = validatorOf(schema);
  if (validator.Check(value)) return [];
  const faults = validator
    .Errors(value)
    .filter((error) => error.keyword !== 'boolean')
    .map((error) => {
      if (error.keyword === 'additionalProperties') {
        const keys = (error.params as { additionalProperties?: string[] }).additionalProperties ?? [];
        return `${error.instancePath || '/'} has unknown key${keys.length === 1 ? '' : 's'} ${keys.join(', ')}`;
      }
      return `${error.instancePath || '/'} ${error.message}${printed(valueAt(value, error.instancePath))}`;
    });
  return [...new Set(faults)];
}

/** `value` with defaults filled in, or an error of `code` whose message starts with `what` (file name, request ...). */
export function parseWith<S extends TSchema>(schema: S, value: unknown, code: ErrorCode, what: string): Static<S> {
  const filled = Value.Default(schema, structuredClone(value));
  const faults = schemaFaults(schema, filled);
  if (faults.length > 0) {
    throw new OrchestratorError(code, `${what}: ${faults.slice(0, 5).join('; ')}`, { faults: faults.slice(0, 20) });
  }
  return filled as Static<S>;
}

function valueAt(value: unknown, pointer: string): unknown {
  let at: unknown = value;
  for (const part of pointer.split('/').slice(1)) {
    if (typeof at !== 'object' || at === null) return undefined;
    at = (at as Record<string, unknown>)[part.replaceAll('~1', '/').replaceAll('~0', '~')];
  }
  return at;
}

function printed(value: unknown): string {
  if (value === undefined || (typeof value === 'object' && value !== null)) return '';
  return ` (is ${JSON.stringify(value)?.slice(0, 60)})`;
}
