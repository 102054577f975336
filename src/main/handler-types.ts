/** The handler types of this build; a new registry each time, as files may declare more into it. */
import { HandlerTypeRegistry } from '../contracts/handler-type.js';
import { HANDLER_MANIFESTS } from '../handlers/index.js';

export const builtInTypes = (): HandlerTypeRegistry => new HandlerTypeRegistry(HANDLER_MANIFESTS);
