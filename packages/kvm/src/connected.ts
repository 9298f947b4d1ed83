import { once } from "node:events";
import type { Socket } from "node:net";

/** How long whoever listens may take to take a connection, in milliseconds: its program's queue is full, or it is not. */
const connectMs = 5_000;

/** The socket, when it is connected. Rejects when that fails or takes too long, with the socket gone. */
export const connected = async (socket: Socket): Promise<Socket> => {
  try {
    await once(socket, "connect", { signal: AbortSignal.timeout(connectMs) });
    return socket;
  } catch (error) {
    socket.destroy();
    throw error;
  }
};
