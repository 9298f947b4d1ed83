import type { Socket } from "node:net";
import { GuestChannel } from "./channel.ts";

/** The one channel to a machine's guest, which everybody who wants something of it shares; opened when it is not. */
export class SharedChannel {
  readonly #reach: () => Promise<Socket>;
  readonly #waitsMs: readonly number[] | undefined;
  #channel: Promise<GuestChannel> | null = null;

  /** `waitsMs` as of `GuestChannel.open`. */
  constructor(reach: () => Promise<Socket>, waitsMs?: readonly number[]) {
    this.#reach = reach;
    this.#waitsMs = waitsMs;
  }

  /**
   * Does something with the open channel, which nobody closes before it has begun. Rejects RUNTIME_FAILED when the guest
   * does not answer: for all who wait for it at once, however many they are.
   */
  async use<T>(use: (channel: GuestChannel) => T | Promise<T>): Promise<T> {
    for (;;) {
      const opening = (this.#channel ??= this.#open());
      const channel = await opening;
      if (!channel.closed) return use(channel);
      if (this.#channel === opening) this.#channel = null;
    }
  }

  #open(): Promise<GuestChannel> {
    const opening = GuestChannel.open(this.#reach, this.#waitsMs);
    opening.catch(() => {
      if (this.#channel === opening) this.#channel = null;
    });
    return opening;
  }

  /** Says something; the channel ends when nobody else uses it. */
  talk<T>(say: (channel: GuestChannel) => T | Promise<T>): Promise<T> {
    return this.use((channel) => {
      const said = say(channel);
      channel.closeWhenIdle();
      return said;
    });
  }

  /** Lets go of the guest, which runs on. */
  async leave(): Promise<void> {
    (await this.#channel?.catch(() => undefined))?.close();
  }
}
