/** Typed HTTP clients of node agent, coordinator and collector; nobody else writes a URL. */
export * from './addresses.js';
export * from './answers.js';
export * from './collector-client.js';
export * from './coordinator-client.js';
export { type HttpClient, unreachableCause } from './http.js';
export * from './node-client.js';
