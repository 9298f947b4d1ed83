import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { fleetError } from "@bulkhead/contracts";

const execute = promisify(execFile);

/** How to get each tool that a build runs. */
const providers: Readonly<Record<string, string>> = {
  "apt-cache": "apt",
  "apt-get": "apt",
  depmod: "kmod",
  "dpkg-deb": "dpkg",
  ldconfig: "libc-bin",
  mke2fs: "e2fsprogs",
  tar: "tar",
  unshare: "util-linux",
};

/** Runs a tool in the C locale and answers what it printed; rejects SETUP_FAILED with the end of what it said. */
export const command = async (
  program: string,
  parameters: readonly string[],
  options: { cwd?: string; signal?: AbortSignal } = {},
): Promise<string> => {
  try {
    // env, so that the rest of the environment (a proxy for apt) is passed on; sbin, because ldconfig is there.
    const { stdout } = await execute(
      "/usr/bin/env",
      ["LC_ALL=C", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", program, ...parameters],
      { ...options, maxBuffer: 64 * 2 ** 20 },
    );
    return stdout;
  } catch (cause) {
    options.signal?.throwIfAborted();
    const said = cause instanceof Error && "stderr" in cause ? String(cause.stderr).trim().slice(-600) : String(cause);
    const package_ = providers[program];
    const remedy = package_ === undefined ? "" : ` (${program} is in Debian's package ${package_})`;
    throw fleetError("SETUP_FAILED", `${program} ${parameters.slice(0, 8).join(" ")} failed${remedy}: ${said}`, {
      cause,
    });
  }
};
