import type { HostNetworks } from "../network/networks.ts";
import type { Attachment } from "../network/state.ts";
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
  zone: NetworkZone;
  readonly listeners: Map<string, NameListener | Promise<void>>;
}

const gatewaysOf = ({ network }: Attachment): string[] =>
  [network.ipv4, network.ipv6].flatMap((target) => target?.gateway ?? []);

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

  private constructor(options: ResponderOptions) {
    this.#options = options;
    this.#timer = setInterval(() => {
      if (this.#served.size > 0) void options.networks.attachments().then((all) => this.#serve(all));
    }, againMs);
    this.#timer.unref();
  }

  static async open(options: ResponderOptions): Promise<NameResponder> {
    const responder = new NameResponder(options);
    await options.networks.watch((attachments) => responder.#serve(attachments));
    return responder;
  }

  #serve(attachments: readonly Attachment[]): void {
    if (!this.#open) return;
    const groups = Map.groupBy(attachments, ({ network }) => network.networkId as string);
    for (const [id, served] of this.#served) {
      if (groups.has(id)) continue;
      this.#served.delete(id);
      for (const listener of served.listeners.values()) if (listener instanceof NameListener) listener.close();
    }
    for (const [id, members] of groups) {
      const served: Served = this.#served.get(id) ?? { zone: new NetworkZone([]), listeners: new Map() };
      served.zone = new NetworkZone(members);
      this.#served.set(id, served);
      const [first] = members;
      for (const address of first === undefined ? [] : gatewaysOf(first)) {
        if (!served.listeners.has(address)) served.listeners.set(address, this.#listen(served, address));
      }
    }
  }

  async #listen(served: Served, address: string): Promise<void> {
    try {
      const { forward } = this.#options;
      const listener = await NameListener.open({ address, zone: () => served.zone, forward });
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
