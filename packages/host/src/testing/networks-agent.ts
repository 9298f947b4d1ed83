// An agent reduced to its networks, run in a network namespace of a test's: does what each message asks for.
import { HostNetworks, type HostNetworksOptions } from "../network/networks.ts";
import type { ConnectedRun, Connection, NetworkView } from "../network/state.ts";

export type Order =
  | { readonly do: "connect"; readonly wanted: Connection; readonly pid: number }
  | { readonly do: "disconnect"; readonly gone: ConnectedRun }
  /** and dies right after, before anything can be done about it */
  | { readonly do: "leave and die"; readonly gone: ConnectedRun }
  | { readonly do: "leave"; readonly gone: ConnectedRun }
  | { readonly do: "adopt"; readonly living: readonly ConnectedRun[] }
  | { readonly do: "view" }
  | { readonly do: "end" }
  | { readonly do: "close" };

export interface Answer {
  readonly id: number;
  readonly view?: NetworkView;
  /** the error's code, or its text where it has none */
  readonly failed?: string;
}

const networks = new HostNetworks(JSON.parse(process.argv[2] ?? "") as HostNetworksOptions);

const obey = async (order: Order): Promise<NetworkView | undefined> => {
  if (order.do === "connect") await networks.connect(order.wanted, `/proc/${order.pid}/ns/net`);
  if (order.do === "disconnect") await networks.disconnect(order.gone);
  if (order.do === "leave" || order.do === "leave and die") networks.leave(order.gone);
  if (order.do === "leave and die") process.kill(process.pid, "SIGKILL");
  if (order.do === "adopt") await networks.adopt(order.living);
  if (order.do === "end") await networks.end();
  if (order.do === "close") await networks[Symbol.asyncDispose]();
  return order.do === "view" ? networks.view() : undefined;
};

const failureOf = (error: unknown): string =>
  error instanceof Error ? ("code" in error ? String(error.code) : error.message) : String(error);

process.on("message", ({ id, order }: { id: number; order: Order }) => {
  obey(order).then(
    (view) => process.send?.({ id, ...(view === undefined ? {} : { view }) } satisfies Answer),
    (error: unknown) => process.send?.({ id, failed: failureOf(error) } satisfies Answer),
  );
});
process.on("disconnect", () => process.exit());
process.send?.({ id: 0 } satisfies Answer);
