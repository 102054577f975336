/** What other parts may use of the node agent. */
export { FRAMES_ENVIRONMENT } from './memory-environment.js';
export { createNodeAgent, type NodeAgent } from './node-agent.js';
export { type CollectorOptions, HOST_ENVIRONMENT, type HostBounds, type NodeAgentOptions } from './options.js';
