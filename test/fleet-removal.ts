import { existsSync } from "node:fs";
import type { CommandResult } from "./fleet.ts";
import type { FleetKernel } from "./fleet-kernel.ts";

/** Takes a test's fleet off the machine by the product's own `down --purge`, and proves that it is gone. */
export const removeFleet = async (fleet: {
  readonly cli: (...args: readonly string[]) => Promise<CommandResult>;
  readonly kernel: FleetKernel;
  readonly runDirectory: string;
}): Promise<void> => {
  const pids = fleet.kernel.instancePids();
  const { code, output } = await fleet.cli("down", "--purge", "--yes", "--keep-users");
  if (code !== 0) throw new Error(`down --purge ended with ${code}:\n${output}`);
  const left = pids.filter((pid) => fleet.kernel.isAlive(pid));
  if (left.length > 0) throw new Error(`down --purge left instances running: ${left.join(", ")}`);
  if (existsSync(fleet.runDirectory)) throw new Error(`down --purge left ${fleet.runDirectory}`);
};
