import { WebSocket } from "ws";

/** Bytes a slow end may have waiting before the other end is not read any more. */
const highWaterBytes = 256 * 1024;
/** Reading goes on when no more than this is left. */
const lowWaterBytes = 64 * 1024;

/** What becomes of one message: passed on, dropped, or a violation that ends the stream. */
export type Verdict = "pass" | "drop" | "refuse";

/**
 * Passes binary messages of one socket to another, one way. While the receiver is behind, the sender's connection is not
 * read, so its kernel stops its peer: memory stays bounded by the high-water mark. Calls `violated` for refused messages.
 */
export const relay = (
  from: WebSocket,
  to: WebSocket,
  rules: { readonly judge: (message: Buffer) => Verdict; readonly violated: () => void },
): void => {
  from.on("message", (data, isBinary) => {
    // Sockets are left at `nodebuffer`, so a message is one Buffer.
    const message = data as Buffer;
    const verdict = isBinary ? rules.judge(message) : "refuse";
    if (verdict === "refuse") return rules.violated();
    if (verdict === "drop" || to.readyState !== WebSocket.OPEN) return;
    to.send(message, () => {
      if (from.isPaused && to.bufferedAmount <= lowWaterBytes) from.resume();
    });
    if (to.bufferedAmount > highWaterBytes) from.pause();
  });
};
