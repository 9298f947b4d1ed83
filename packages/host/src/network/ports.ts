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
