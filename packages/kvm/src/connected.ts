import { once } from "node:events";
import type { Socket } from "node:net";

/** How long whoever listens may take to take a connection, in milliseconds: its program's queue is full, or it is not. */
const connectMs = 5_000;

/**
 * The socket, when it is connected. Rejects when that fails or takes too long, with the socket gone. Whoever takes it
 * looks whether it is still there: one that failed meanwhile has said so to nobody, or it would have ended the process.
 */
export const connected = async (socket: Socket): Promise<Socket> => {
  // Stays: who listens may end the connection before anybody who waits for it comes to hear that.
  socket.on("error", () => undefined);
  try {
    await once(socket, "connect", { signal: AbortSignal.timeout(connectMs) });
    return socket;
  } catch (error) {
    socket.destroy();
    throw error;
  }
};
