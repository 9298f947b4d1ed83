import { fleetError } from "@bulkhead/contracts";
import type { Link } from "./link.ts";

/** Room for a message's headers (trace context, the code of an error), in bytes. */
const headerBytes = 16 * 1024;

/**
 * Throws when the server would not take a text as one message. The client refuses it too, but in a way that cannot be told
 * from other mistakes, and whoever waits for an answer would learn nothing.
 */
export const assertFits = (
  text: string,
  { link, what, code }: { link: Link; what: string; code: "BODY_TOO_LARGE" | "ANSWER_TOO_LARGE" },
): void => {
  const most = link.maxPayloadBytes;
  // No character takes more than three bytes per unit of its string, so short texts need no count.
  if (text.length * 3 + headerBytes <= most) return;
  const bytes = Buffer.byteLength(text);
  if (bytes + headerBytes <= most) return;
  throw fleetError(code, `${what} takes ${bytes} bytes; NATS takes messages of ${most} bytes, their headers included.`);
};
