import { createSocket } from "node:dgram";
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { parseAddress } from "@bulkhead/contracts";

/** How long one of the host's resolvers may take, in milliseconds; a client asks again after 2 s. */
const patienceMs = 1_500;

/** Asks for somebody; null when nobody answered. */
export type Forwarder = (message: Buffer, datagram: boolean) => Promise<Buffer | null>;

/** `nameserver` lines of resolv.conf(5). */
export const parseResolvers = (text: string): string[] =>
  [...text.matchAll(/^nameserver[ \t]+([0-9a-fA-F.:]+)/gm)].flatMap(([, address = ""]) =>
    parseAddress(address) === null ? [] : [address],
  );

const askDatagram = (server: string, message: Buffer): Promise<Buffer | null> => {
  const { promise, resolve } = Promise.withResolvers<Buffer | null>();
  const socket = createSocket(server.includes(":") ? "udp6" : "udp4");
  const end = (answer: Buffer | null): void => {
    clearTimeout(timer);
    socket.removeAllListeners();
    socket.on("error", () => undefined);
    socket.close();
    resolve(answer);
  };
  const timer = setTimeout(() => end(null), patienceMs);
  socket.on("error", () => end(null));
  // Connected, so that the kernel drops what others send; the id must be the question's.
  socket.connect(53, server, () => socket.send(message));
  socket.on("message", (answer) => {
    if (answer.length >= 12 && answer.readUInt16BE(0) === message.readUInt16BE(0)) end(answer);
  });
  return promise;
};

const askStream = (server: string, message: Buffer): Promise<Buffer | null> => {
  const { promise, resolve } = Promise.withResolvers<Buffer | null>();
  const socket = connect({ host: server, port: 53, timeout: patienceMs });
  let received = Buffer.alloc(0);
  const end = (answer: Buffer | null): void => {
    socket.destroy();
    resolve(answer);
  };
  socket
    .on("error", () => end(null))
    .on("timeout", () => end(null))
    .on("close", () => end(null));
  socket.on("data", (chunk) => {
    received = Buffer.concat([received, chunk]);
    if (received.length < 2) return;
    const size = received.readUInt16BE(0);
    if (received.length >= size + 2) end(received.subarray(2, size + 2));
  });
  const size = Buffer.alloc(2);
  size.writeUInt16BE(message.length);
  socket.write(Buffer.concat([size, message]));
  return promise;
};

/** Asks the host's own resolvers in their order. The file is read for each question: it changes with the host's network. */
export const hostResolvers = (path = "/etc/resolv.conf"): Forwarder => {
  const servers = (): string[] => {
    try {
      return parseResolvers(readFileSync(path, "utf8")).slice(0, 3);
    } catch {
      return [];
    }
  };
  return async (message, datagram) => {
    for (const server of servers()) {
      const answer = await (datagram ? askDatagram(server, message) : askStream(server, message));
      if (answer !== null) return answer;
    }
    return null;
  };
};
