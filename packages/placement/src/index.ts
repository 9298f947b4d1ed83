export { demandClass, demandOf } from "./demand.ts";
export type { Demand, PlacementRequest, ShareDemand } from "./demand.ts";
export { agentOf } from "./fleet.ts";
export type { FleetAgent, FleetHost, FleetSnapshot, Held } from "./fleet.ts";
export { largestHost } from "./largest-host.ts";
export type { LargestHost } from "./largest-host.ts";
export { plan } from "./plan.ts";
export type { Placement, Plan, PlanOptions, Rejection, Unplaced } from "./plan.ts";
