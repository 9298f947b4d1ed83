import { statSync } from "node:fs";
import { machineDirectoriesMax, type AssignedShare, type Assignment, type BindMount } from "@bulkhead/contracts";
import { StartFailure } from "@bulkhead/node";

/** A directory of the host that a machine sees: its monitor's jail has it at `place`, its guest at `path`. */
export interface SharedDirectory {
  /** by which a guest names it */
  readonly tag: string;
  readonly place: string;
  readonly path: string;
  readonly readOnly: boolean;
}

/** Where a monitor's jail has what its machine shares; the monitor itself finds nothing there (native/kvm/src/sharing). */
const placeOf = (kind: "share" | "mount", index: number): string => `/shares/${kind}${index}`;

/** An assignment's shares as its monitor's jail has them: the same objects and modes, in other places. */
export const sharesInJail = ({ shares = [] }: Assignment): AssignedShare[] =>
  shares.map((share, index) => ({ ...share, path: placeOf("share", index) }));

export const mountsInJail = ({ spec }: Assignment): BindMount[] =>
  (spec.mounts ?? []).map((mount, index) => ({ ...mount, path: placeOf("mount", index) }));

/** Directories of the host whose files a machine sees. Pure. */
export const sharedDirectories = ({ shares = [], spec }: Assignment): SharedDirectory[] => [
  ...shares.flatMap(({ kind, path, readOnly }, index) => {
    const place = placeOf("share", index);
    return kind === "directory" ? [{ tag: `share${index}`, place, path, readOnly }] : [];
  }),
  ...(spec.mounts ?? []).map(({ path, readOnly = true }, index) => {
    const place = placeOf("mount", index);
    return { tag: `mount${index}`, place, path, readOnly };
  }),
];

/** Shares whose sockets its guest has one each of (native/guest/src/socket_directory.h). Pure. */
export const sharedSockets = ({ shares = [] }: Assignment): AssignedShare[] =>
  shares.filter(({ kind }) => kind === "socket-directory");

/** What a machine cannot see of the host. Throws StartFailure MountNotAllowed. */
export const admitShared = ({ shares = [], spec: { mounts = [] } }: Assignment): void => {
  const refuse = (why: string): never => {
    throw new StartFailure("MountNotAllowed", why);
  };
  const memory = shares.find(({ kind }) => kind === "shared-memory");
  if (memory !== undefined) refuse(`share ${memory.name} is of kind ${memory.kind}, which a VM cannot see`);
  if (shares.length + mounts.length > machineDirectoriesMax) {
    refuse(`a VM sees at most ${machineDirectoriesMax} shares and host directories`);
  }
  // One that is not there is refused by the jail, in its own words.
  const file = mounts.find(({ hostPath }) => statSync(hostPath, { throwIfNoEntry: false })?.isFile() === true);
  if (file !== undefined) refuse(`"${file.hostPath}" is a file, and a VM sees directories of its host only`);
};
