export { fastifyDefaults } from "./defaults.ts";
export { addHealthRoutes } from "./health.ts";
export { addProblemHandlers, sendProblem } from "./problems.ts";
export { addRequestTimer } from "./request-timer.ts";
export type { RequestLabels } from "./request-timer.ts";
