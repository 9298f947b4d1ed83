import type { HostNetworks } from "../network/networks.ts";
import type { Attachment, NetworkView } from "../network/state.ts";
import type { Forwarder } from "./forward.ts";
import { NameListener } from "./listener.ts";
import { NetworkZone } from "./names.ts";

export interface ResponderOptions {
  readonly networks: HostNetworks;
  /** asks others for names that are not of the network; null: they do not exist */
  readonly forward: Forwarder | null;
  readonly log: { warn(fields: object, message: string): void };
}

/** How often an address that could not be had is tried again, and names of the other agent's instances are read. */
const againMs = 1_000;

interface Served {
  members: readonly Attachment[];
  /** made of the members when somebody asks; under a storm of starts nobody does for each of them */
  zone: NetworkZone | undefined;
  readonly listeners: Map<string, NameListener | Promise<void>>;
}

/**
 * Answers names on the gateway of every network of this host. Of a host's two agents the first to bind answers for both;
 * the other takes over when it ends.
 */
export class NameResponder implements Disposable {
  readonly #options: ResponderOptions;
  readonly #served = new Map<string, Served>();
  readonly #warned = new Set<string>();
  readonly #timer: NodeJS.Timeout;
  #open = true;

  constructor(options: ResponderOptions) {
    this.#options = options;
    this.#timer = setInterval(() => {
      if (this.#served.size > 0) this.#serve(options.networks.view());
    }, againMs);
    this.#timer.unref();
    options.networks.watch((view) => this.#serve(view));
  }

  #serve({ networks, attachments }: NetworkView): void {
    if (!this.#open) return;
    const members = Map.groupBy(attachments, ({ network }) => network.networkId as string);
    const present = new Set<string>(networks.map(({ networkId }) => networkId));
    for (const [id, served] of this.#served) {
      if (present.has(id)) continue;
      this.#served.delete(id);
      for (const listener of served.listeners.values()) if (listener instanceof NameListener) listener.close();
    }
    for (const { networkId, gateways } of networks) {
      const served: Served = this.#served.get(networkId) ?? { members: [], zone: undefined, listeners: new Map() };
      served.members = members.get(networkId) ?? [];
      served.zone = undefined;
      this.#served.set(networkId, served);
      for (const address of gateways) {
        if (!served.listeners.has(address)) served.listeners.set(address, this.#listen(served, address));
      }
    }
  }

  async #listen(served: Served, address: string): Promise<void> {
    try {
      const { forward } = this.#options;
      const zone = (): NetworkZone => (served.zone ??= new NetworkZone(served.members));
      const listener = await NameListener.open({ address, zone, forward });
      if (!this.#open || ![...this.#served.values()].includes(served)) return listener.close();
      served.listeners.set(address, listener);
    } catch (err) {
      served.listeners.delete(address);
      const taken = err instanceof Error && "code" in err && err.code === "EADDRINUSE";
      if (!taken && !this.#warned.has(address)) this.#options.log.warn({ err, address }, "names are not answered");
      this.#warned.add(address);
    }
  }

  [Symbol.dispose](): void {
    this.#open = false;
    clearInterval(this.#timer);
    for (const { listeners } of this.#served.values()) {
      for (const listener of listeners.values()) if (listener instanceof NameListener) listener.close();
    }
    this.#served.clear();
  }
}
