import type { AssignedShare } from "@bulkhead/contracts";
import type { SourceDirectory } from "@bulkhead/native-namespaces";
import { admitPlace } from "../places.ts";

/** A share's mount in a container that starts. */
export interface SharedMount {
  readonly source: SourceDirectory;
  readonly path: string;
  readonly readOnly: boolean;
  readonly executable: boolean;
  readonly idMapped: boolean;
}

/** Programs may be run from a directory; shared memory and sockets are no place for them. */
export const isExecutable = ({ kind }: Pick<AssignedShare, "kind">): boolean => kind === "directory";

/** tmpfs takes an id map since Linux 6.3 (FS_ALLOW_IDMAP in mm/shmem.c); before, other instances' files are nobody's. */
export const idMapped = ({ kind }: Pick<AssignedShare, "kind">, kernel: string): boolean => {
  const [major = 0, minor = 0] = kernel.split(".").map(Number);
  return kind === "directory" || major > 6 || (major === 6 && minor >= 3);
};

/** Where the instance will see it, without trailing slash. Throws StartFailure MountNotAllowed. */
export const admitShare = ({ name, kind, path }: Pick<AssignedShare, "name" | "kind" | "path">): string =>
  admitPlace(path, `share ${name}`, { memory: kind === "shared-memory" });
