import { StartFailure } from "@bulkhead/node";

/** Places in the container that its own kernel files stand on; a mount there would hide or fake them. */
const reserved = ["/proc", "/sys", "/dev"];
/** POSIX shared memory (shm_open(3)) looks nowhere else, so it is the one place below /dev that may be covered. */
const sharedMemoryPath = "/dev/shm";

/**
 * Where an instance will see something, without trailing slash. `what` begins the message; `memory`: it may stand in for
 * shared memory. Throws StartFailure MountNotAllowed.
 */
export const admitPlace = (path: string, what: string, { memory }: { readonly memory: boolean }): string => {
  const clean = path.replace(/\/+$/, "");
  if (clean === "" || clean.split("/").some((part) => part === "." || part === "..")) {
    throw new StartFailure("MountNotAllowed", `"${path}" is no place for ${what} inside the instance`);
  }
  if (memory && clean === sharedMemoryPath) return clean;
  const hidden = reserved.find((place) => clean === place || clean.startsWith(`${place}/`));
  if (hidden !== undefined) {
    throw new StartFailure("MountNotAllowed", `${what} on "${path}" would cover the instance's own ${hidden}`);
  }
  return clean;
};

/** Where everything of one instance is seen. Throws StartFailure MountFailed for a place that is wanted twice. */
export const refuseSamePlaces = (paths: readonly string[]): void => {
  const twice = paths.find((path, at) => paths.indexOf(path) !== at);
  if (twice !== undefined) throw new StartFailure("MountFailed", `two mounts want the same place "${twice}"`);
};
