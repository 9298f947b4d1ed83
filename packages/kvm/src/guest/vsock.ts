import type { Socket } from "node:net";
import { connectPort, type GuestPort } from "./connection.ts";

/** How long a monitor and its guest may take to answer, in milliseconds. */
const answerMs = 5_000;
/** Longest answer: `OK ` and a port. */
const answerBytes = 16;

/** Reads up to the end of the first line, and leaves what follows to whoever reads next. */
const firstLine = (socket: Socket): Promise<string> => {
  const line = Promise.withResolvers<string>();
  let text = "";
  const late = setTimeout(() => line.reject(new Error(`the guest did not answer within ${answerMs} ms`)), answerMs);
  const read = (): void => {
    // A byte at a time: what follows the line is the agent's.
    for (let byte; (byte = socket.read(1) as Buffer | null) !== null;) {
      text += byte.toString("latin1");
      if (text.endsWith("\n")) return line.resolve(text);
      if (text.length > answerBytes) return line.reject(new Error("the monitor's answer is none"));
    }
  };
  const gone = (): void => line.reject(new Error("nobody listens in the guest"));
  socket.on("readable", read).on("end", gone).on("error", gone).on("close", gone);
  // Nothing tells again of one that has ended by now.
  if (socket.destroyed) gone();
  return line.promise.finally(() => {
    clearTimeout(late);
    socket.off("readable", read).off("end", gone).off("error", gone).off("close", gone);
  });
};

/** Connects to a port inside a machine through its monitor's vsock socket: `CONNECT <port>`, `OK <port>`. */
export const connectVsock = async (place: GuestPort, port: number): Promise<Socket> => {
  const socket = await connectPort(place);
  try {
    const answered = firstLine(socket);
    socket.write(`CONNECT ${port}\n`);
    const line = await answered;
    if (!/^OK \d+\n$/.test(line)) throw new Error("the monitor refused the connection");
    return socket;
  } catch (error) {
    socket.destroy();
    throw error;
  }
};
