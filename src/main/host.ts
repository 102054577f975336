/** Entry of a handler host: the subprocess that a node agent forks. It knows every built-in handler type. */
import { runHandlerHost } from '../handler-kit/host.js';
import { HANDLER_MANIFESTS } from '../handlers/index.js';

runHandlerHost(HANDLER_MANIFESTS);
