/**
 * What leaving the guest costs: a port write and a register read, each from the guest's instruction to the monitor and
 * back, over 20,000 in a loop, less the loop. Measured, not judged: where KVM interprets kernel code, most of the figure
 * is the interpreter's, and it says nothing about processors with virtualization.
 */
import { median, printFigures, printTimes } from "./report.ts";
import { askMachineBench, buildMachineBench } from "./machine-bench.ts";

const rounds = 15;
const nsPerMs = 1e6;

interface Exits {
  readonly emptyRoundNs: number;
  readonly portWriteNs: number;
  readonly registerReadNs: number;
}

await buildMachineBench();
const costs: Exits[] = [];
for (let round = 0; round < rounds; round += 1) costs.push(await askMachineBench<Exits>("exits"));
const portWriteNs = costs.map((cost) => cost.portWriteNs - cost.emptyRoundNs);
const registerReadNs = costs.map((cost) => cost.registerReadNs - cost.emptyRoundNs);
const inMs = (values: readonly number[]): number[] => values.map((value) => value / nsPerMs);
printTimes("round trip", {
  "empty round of the loop": inMs(costs.map(({ emptyRoundNs }) => emptyRoundNs)),
  "port write, beyond it": inMs(portWriteNs),
  "register read, beyond it": inMs(registerReadNs),
});
printFigures({
  bench: "exit-cost",
  portWriteNs: median(portWriteNs),
  registerReadNs: median(registerReadNs),
  better: "lower",
  goal: "none: reported only",
  met: true,
});
