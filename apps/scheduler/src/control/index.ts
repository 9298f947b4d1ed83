export { ControlLoop } from "./control-loop.ts";
export { defaultTimes } from "./ports.ts";
export type { ControlBus, ControlLog, ControlMeters, ControlPorts, ControlTimes } from "./ports.ts";
