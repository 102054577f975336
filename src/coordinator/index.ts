/** The coordinator as the composition root starts it. */
export { createController } from './controller.js';
export { createCoordinator } from './coordinator.js';
export { type CoordinatorBounds, type CoordinatorOptions, DEFAULT_COORDINATOR_BOUNDS } from './options.js';
