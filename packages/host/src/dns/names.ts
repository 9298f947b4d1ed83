import { parseAddress } from "@bulkhead/contracts";
import type { Attachment } from "../network/state.ts";
import { answerMessage, parseQuestion, recordTypes, refuseMessage, responseCodes, type Question } from "./message.ts";

const addressBytes = (text: string): Buffer => {
  const parsed = parseAddress(text);
  if (parsed === null) return Buffer.alloc(0);
  const digits = parsed.value.toString(16).padStart(parsed.bits / 4, "0");
  return Buffer.from(digits, "hex");
};

/** What one network's instances are called, and who may ask. */
export class NetworkZone {
  readonly #four = new Map<string, Buffer[]>();
  readonly #six = new Map<string, Buffer[]>();
  readonly #members = new Set<string>();
  readonly internal: boolean;

  constructor(attachments: readonly Attachment[]) {
    this.internal = attachments[0]?.network.internal ?? true;
    for (const { network } of attachments) {
      for (const [target, place] of [
        [network.ipv4, this.#four],
        [network.ipv6, this.#six],
      ] as const) {
        if (target === null) continue;
        this.#members.add(target.address);
        for (const name of network.names) {
          const known = place.get(name) ?? [];
          known.push(addressBytes(target.address));
          place.set(name, known);
        }
      }
    }
  }

  /** Answers go to the network's own instances only; a spoofed address does not get this far. */
  mayAsk(address: string): boolean {
    return this.#members.has(address.replace(/^::ffff:/, "").replace(/%.*$/, ""));
  }

  has(name: string): boolean {
    return this.#four.has(name) || this.#six.has(name);
  }

  addresses(name: string, type: number): readonly Buffer[] {
    if (type === recordTypes.a) return this.#four.get(name) ?? [];
    if (type === recordTypes.aaaa) return this.#six.get(name) ?? [];
    return [];
  }
}

/** Answered here, or a question for the host's own resolvers; null: no answer at all. */
export type Outcome = { readonly answer: Buffer } | { readonly forward: Question } | null;

/** What a zone says to one message. Names with a dot are nobody's here; those without are nobody's elsewhere. */
export const decide = (zone: NetworkZone, message: Buffer, datagram: boolean): Outcome => {
  const parsed = parseQuestion(message);
  if (parsed === null) return null;
  if ("code" in parsed) return { answer: refuseMessage(parsed.id, parsed.code) };
  if (zone.has(parsed.name)) {
    const addresses = zone.addresses(parsed.name, parsed.type);
    return { answer: answerMessage(parsed, responseCodes.ok, { addresses, datagram }) };
  }
  const elsewhere = parsed.name.includes(".") && !zone.internal;
  return elsewhere ? { forward: parsed } : { answer: answerMessage(parsed, responseCodes.noSuchName, { datagram }) };
};
