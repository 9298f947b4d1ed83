export { ControlLoop } from "./control-loop.ts";
