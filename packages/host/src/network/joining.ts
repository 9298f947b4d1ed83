import { fleetError } from "@bulkhead/contracts";
import type { Waiting } from "./group.ts";
import { type HeldPorts, holdPorts } from "./ports.ts";
import type { Attachment, ConnectedRun, NetworkState } from "./state.ts";

/** What runs ask for: a place, or to be forgotten; `null`: that those who have left are. */
export type Request = { readonly attachment: Attachment } | { readonly gone: ConnectedRun } | null;

/** A run that joins, has its ports and is on record. */
export interface Joining {
  readonly attachment: Attachment;
  readonly reject: (error: unknown) => void;
}

const refusalOf = ({ share, network, instanceId }: Attachment): Error =>
  fleetError(
    "STATE_CONFLICT",
    `Instance ${network.names[0] ?? instanceId} has connected the network namespace of share ${share?.name} to network ` +
      `${network.name}, and it can be connected once: start this instance when that one has ended, or without a network.`,
  );

/** Lets runs into networks: each gets its ports and its record, under the host's lock. */
export class Joiners {
  readonly #state: NetworkState;
  readonly #ports: HeldPorts;

  constructor(state: NetworkState, ports: HeldPorts) {
    this.#state = state;
    this.#ports = ports;
  }

  /** Those who have a place; the others are told why they have none. `staying`: who is connected, and stays. */
  admit(requests: readonly Waiting<Request>[], staying: readonly Attachment[]): Joining[] {
    const holders = new Map(staying.flatMap((each) => (each.share === undefined ? [] : [[each.share.shareId, each]])));
    return requests.flatMap(({ request, reject }) => {
      if (request === null || "gone" in request) return [];
      const { attachment } = request;
      const { share } = attachment;
      try {
        const holder = share === undefined ? undefined : holders.get(share.shareId);
        if (holder !== undefined) throw refusalOf(holder);
        using ports = holdPorts(attachment.network.ports);
        this.#state.attachments.put(attachment.link, attachment);
        this.#ports.keep(attachment.link, ports.move());
        if (share !== undefined) holders.set(share.shareId, attachment);
        return [{ attachment, reject }];
      } catch (error) {
        reject(error);
        return [];
      }
    });
  }

  refuse({ attachment, reject }: Joining, error: unknown): void {
    this.#ports.letGo(attachment.link);
    this.#state.attachments.remove(attachment.link);
    reject(error);
  }
}
