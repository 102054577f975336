/** The product's handler host, which also knows the handlers of the chain bench. */
import { runHandlerHost } from '#src/handler-kit/host.js';
import { HANDLER_MANIFESTS } from '#src/handlers/index.js';
import { BENCH_MANIFESTS } from './handlers.js';

runHandlerHost([...HANDLER_MANIFESTS, ...BENCH_MANIFESTS]);
