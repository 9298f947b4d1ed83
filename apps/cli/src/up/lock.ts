import { spawnSync } from "node:child_process";
import { closeSync, ftruncateSync, mkdirSync, openSync, readFileSync, writeSync } from "node:fs";
import { dirname } from "node:path";
import { fleetError } from "@bulkhead/contracts/errors";
import { identityLives, ownIdentity, type ProcessIdentity } from "@bulkhead/host";

/** util-linux flock's exit code when another holds the lock (its default for -n). */
const heldCode = 1;

/** The right to be the one `up` of a state directory. */
export interface UpLock extends Disposable {
  readonly holder: ProcessIdentity;
}

/** Who holds the lock now; undefined when nobody does. */
export const lockHolder = (path: string): ProcessIdentity | undefined => {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
  try {
    const holder = JSON.parse(text) as ProcessIdentity;
    return identityLives(holder) ? holder : undefined;
  } catch {
    // Taken this very moment and not yet written, or never written whole.
    return undefined;
  }
};

/**
 * Takes the lock of a state directory, or returns undefined when another `up` has it. flock(2) belongs to the open file
 * that the helper shares with us, so the kernel frees it when this process ends, however it ends.
 */
export const takeUpLock = (path: string): UpLock | undefined => {
  mkdirSync(dirname(path), { recursive: true });
  const file = openSync(path, "a+", 0o644);
  const { status, error } = spawnSync("flock", ["--nonblock", "3"], { stdio: ["ignore", "ignore", "ignore", file] });
  if (status !== 0) {
    closeSync(file);
    if (status === heldCode) return undefined;
    throw fleetError("SETUP_FAILED", `flock (package util-linux) failed: ${error?.message ?? `exit code ${status}`}.`);
  }
  const holder = ownIdentity();
  ftruncateSync(file, 0);
  writeSync(file, `${JSON.stringify(holder)}\n`);
  return {
    holder,
    [Symbol.dispose]: () => {
      ftruncateSync(file, 0);
      closeSync(file);
    },
  };
};
