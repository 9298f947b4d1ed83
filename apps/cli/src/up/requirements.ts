import { connect } from "node:net";
import { stat } from "node:fs/promises";
import { dirname } from "node:path";
import { fleetError } from "@bulkhead/contracts/errors";

/** Throws SETUP_FAILED on a machine or for a user that cannot run hosts at all. */
export const requireHost = (
  machine: { platform: string; arch: string; uid: number | undefined },
  command: string,
): void => {
  const problems = [
    ...(machine.platform === "linux" ? [] : [`it needs Linux (this is ${machine.platform})`]),
    ...(machine.arch === "x64" ? [] : [`it needs an x86-64 machine (this is ${machine.arch})`]),
    ...(machine.uid === 0 ? [] : ["it needs root, because the agent makes namespaces, mounts and cgroups"]),
  ];
  if (problems.length > 0) throw fleetError("SETUP_FAILED", `\`${command}\` cannot run here: ${problems.join("; ")}.`);
};

const answers = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect({ host: "127.0.0.1", port });
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });

/** Throws SETUP_FAILED naming every port that something else listens on, and the variable that moves ours. */
export const requirePorts = async (ports: Readonly<Record<string, number>>): Promise<void> => {
  const taken: string[] = [];
  for (const [variable, port] of Object.entries(ports)) {
    if (await answers(port)) taken.push(`port ${port} is in use by another program (${variable} chooses another)`);
  }
  if (taken.length > 0) throw fleetError("SETUP_FAILED", `The fleet cannot start: ${taken.join("; ")}.`);
};

/** Throws SETUP_FAILED when the services' users could not reach their files below a directory. */
export const requireTraversable = async (directory: string, variable: string): Promise<void> => {
  for (let path = directory; path !== "/"; path = dirname(path)) {
    const { mode } = await stat(path);
    if ((mode & 0o001) !== 0) continue;
    throw fleetError(
      "SETUP_FAILED",
      `The services' users cannot enter ${path} (mode ${(mode & 0o777).toString(8)}), where the state lies. Choose another place with ${variable}, or run \`chmod o+x ${path}\`.`,
    );
  }
};
