import type { Assignment } from "@bulkhead/contracts";
import { StartFailure } from "@bulkhead/node";
import { idMapped, type SharedMount } from "./admit-share.ts";
import { OpenNamespaces } from "./namespace-holder.ts";
import type { JoinedNamespaces, ShareStore } from "./share-store.ts";

/** Namespaces that an instance has in common with others, open until it has started. */
export interface Membership extends Disposable {
  readonly name: string;
  readonly uidRange: JoinedNamespaces["uidRange"];
  readonly open: OpenNamespaces;
  readonly mounts: readonly SharedMount[];
  /** what it sees as /etc/resolv.conf, because it is in the network of others; undefined: a file of its own */
  readonly resolvConf: string | undefined;
}

/** Its host name: its own, or that of the share whose UTS namespace it is in. */
export const hostnameOf = ({ name, namespaces }: Pick<Assignment, "name" | "namespaces">): string =>
  namespaces?.namespaces.includes("uts") === true ? namespaces.name : name;

/**
 * The namespaces that an instance will be in, ready; null when all are its own. Rejects StartFailure ResourceExhausted or
 * RuntimeFailed, and then it stays among their users: it will be tried again, or removed and leave them.
 */
export const openNamespaces = async (
  host: { readonly shares: ShareStore; readonly kernel: string },
  { instanceId, namespaces, network }: Pick<Assignment, "instanceId" | "namespaces" | "network">,
): Promise<Membership | null> => {
  if (namespaces === undefined) return null;
  try {
    const joined = await host.shares.join(namespaces, instanceId);
    const open = new OpenNamespaces(joined.holder, namespaces.namespaces);
    const shown = { path: "/dev/shm", readOnly: false, executable: false };
    const mounts =
      joined.memory === null
        ? []
        : [{ ...shown, source: joined.memory, idMapped: idMapped({ kind: "shared-memory" }, host.kernel) }];
    return {
      name: namespaces.name,
      uidRange: joined.uidRange,
      open,
      mounts,
      resolvConf: network === undefined && namespaces.namespaces.includes("network") ? joined.resolvConf : undefined,
      [Symbol.dispose]: () => open[Symbol.dispose](),
    };
  } catch (cause) {
    throw new StartFailure(
      "RuntimeFailed",
      `namespaces of share ${namespaces.name}: ${(cause as Error).message}`,
      cause,
    );
  }
};
