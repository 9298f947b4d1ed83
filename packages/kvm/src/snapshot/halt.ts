import { existsSync, readFileSync } from "node:fs";
import { rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { syncPath } from "@bulkhead/node";
import type { Standstill } from "../engine/engine.ts";
import type { GuestChannel } from "../guest/channel.ts";
import { thawGuest } from "../guest/orders.ts";
import type { MachinePaths } from "../machine-paths.ts";

/** File in a run's directory while its processes are kept still, so that the next agent knows. */
const name = "halted";

/**
 * Why a run's processes are kept still. `identity`: it is a copy that does not know yet who it is, and nobody may let it
 * go on; `thaw`: it is to go on.
 */
export type Halt = "identity" | "thaw";

/** null: they are not. One whose word is damaged is to go on: a copy's own word is on disk before there is a copy. */
export const haltOf = ({ run }: Pick<MachinePaths, "run">): Halt | null => {
  const path = join(run, name);
  if (!existsSync(path)) return null;
  return readFileSync(path, "utf8") === "identity" ? "identity" : "thaw";
};

/** Written whole, also after a power cut: by what it says, a disk is taken back or kept. */
export const writeHalt = async ({ run }: MachinePaths, halt: Halt): Promise<void> => {
  const path = join(run, name);
  await writeFile(`${path}.new`, halt, { mode: 0o600 });
  await syncPath(`${path}.new`);
  await rename(`${path}.new`, path);
  await syncPath(run);
};

/** One try to let a machine and its processes go on, however far that has come already. Rejects when it cannot be reached. */
export const goOn = async (
  standstill: Standstill | null,
  paths: MachinePaths,
  talk: (say: (channel: GuestChannel) => Promise<void>) => Promise<void>,
): Promise<void> => {
  await standstill?.end(paths.ports);
  await talk(thawGuest);
  await rm(join(paths.run, name), { force: true });
};
