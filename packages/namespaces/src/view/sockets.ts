import type { ViewSocket } from "@bulkhead/contracts";
import { insideId, type IdMapLine } from "./id-map.ts";

/** TCP_LISTEN and TCP_CLOSE (net/tcp_states.h); an unconnected UDP socket is in the latter and takes what comes. */
const tcpListen = "0A";
const udpOpen = "07";
/** __SO_ACCEPTCON (linux/net.h): a Unix socket that listens. */
const acceptsConnections = 0x1_0000;
/** SOCK_DGRAM; a bound one can be sent to without listening. */
const datagram = 2;

/** A 32-bit word of /proc/net is in the machine's byte order: little-endian on x86-64. */
const bytesOf = (hex: string): number[] =>
  (hex.match(/.{8}/g) ?? []).flatMap((word) =>
    (word.match(/../g) ?? []).map((byte) => Number.parseInt(byte, 16)).toReversed(),
  );

const ipv6Of = (bytes: readonly number[]): string => {
  const groups = Array.from({ length: 8 }, (_, at) =>
    (((bytes[at * 2] ?? 0) << 8) | (bytes[at * 2 + 1] ?? 0)).toString(16),
  );
  // URL writes an IPv6 host in its one canonical form (RFC 5952).
  return new URL(`http://[${groups.join(":")}]`).hostname;
};

/** `0100007F:1F90` as `127.0.0.1:8080`. */
export const addressOf = (text: string): string => {
  const [host = "", port = ""] = text.split(":");
  const bytes = bytesOf(host);
  return `${bytes.length === 4 ? bytes.join(".") : ipv6Of(bytes)}:${Number.parseInt(port, 16)}`;
};

/** Listening sockets of /proc/PID/net/{tcp,tcp6,udp,udp6}. */
export const parseInternetSockets = (
  text: string,
  protocol: "tcp" | "tcp6" | "udp" | "udp6",
  uidMap: readonly IdMapLine[],
): ViewSocket[] =>
  text
    .split("\n")
    .slice(1)
    .flatMap((line) => {
      const [, local, , state, , , , uid] = line.trim().split(/\s+/);
      const wanted = protocol.startsWith("tcp") ? tcpListen : udpOpen;
      if (local === undefined || uid === undefined || state !== wanted) return [];
      return [{ protocol, address: addressOf(local), uid: insideId(uidMap, Number(uid)) }];
    });

/** Sockets of /proc/PID/net/unix with a name that somebody could connect or send to. */
export const parseUnixSockets = (text: string): ViewSocket[] =>
  text
    .split("\n")
    .slice(1)
    .flatMap((line) => {
      const match = /^\S+ \S+ \S+ ([0-9A-F]+) ([0-9A-F]+) \S+ +\d+ (.+)$/.exec(line);
      if (match === null) return [];
      const [, flags = "0", type = "0", name = ""] = match;
      const open = (Number.parseInt(flags, 16) & acceptsConnections) !== 0 || Number.parseInt(type, 16) === datagram;
      if (!open) return [];
      return [
        { protocol: name.startsWith("@") ? ("unix-abstract" as const) : ("unix" as const), address: name, uid: null },
      ];
    });
