import { fleetError, type AssignedPort } from "@bulkhead/contracts";
import { holdPort, NativeError, type Descriptor } from "@bulkhead/native-namespaces";

const wildcards = ["0.0.0.0", "::"];

const holdOne = (protocol: "tcp" | "udp", address: string, port: number): Descriptor | null => {
  try {
    return holdPort(protocol, address, port);
  } catch (error) {
    if (!(error instanceof NativeError)) throw error;
    // A host without IPv6 has no such port to be taken.
    if (error.code === "EAFNOSUPPORT" && address === "::") return null;
    const why = error.code === "EADDRINUSE" ? "another program of this host has it" : `the host says ${error.code}`;
    throw fleetError("PORT_BUSY", `${protocol} port ${port} at ${address} cannot be published: ${why}.`, {
      cause: error,
    });
  }
};

/**
 * Ports of the host that lead to instances are held by sockets that never listen: a server of the host cannot take one
 * unseen, and one that has it already is found. Throws PORT_BUSY with everything let go.
 */
export const holdPorts = (ports: readonly AssignedPort[]): DisposableStack => {
  using held = new DisposableStack();
  for (const { protocol, hostPort, hostAddress } of ports) {
    for (const address of hostAddress === null ? wildcards : [hostAddress]) {
      const one = holdOne(protocol, address, hostPort);
      if (one !== null) held.use(one);
    }
  }
  return held.move();
};

/** Ports that are held for links of this agent's, by the link's name. */
export class HeldPorts {
  readonly #held = new Map<string, DisposableStack>();

  keep(link: string, ports: DisposableStack): void {
    this.#held.set(link, ports);
  }

  /** For a link that an earlier agent made, and whose ports it held. */
  holdAgain(link: string, ports: readonly AssignedPort[]): void {
    if (this.#held.has(link)) return;
    try {
      this.keep(link, holdPorts(ports));
    } catch {
      // Somebody took the port while no agent held it. The rule still wins, and the instance runs on.
    }
  }

  letGo(link: string): void {
    this.#held.get(link)?.dispose();
    this.#held.delete(link);
  }

  letGoAll(): void {
    for (const link of this.#held.keys()) this.letGo(link);
  }
}
