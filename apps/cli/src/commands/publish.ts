import type { PublishedPort } from "@bulkhead/contracts";
import { UsageError } from "../command.ts";

const form = "write PORT, HOSTPORT:PORT or ADDRESS:HOSTPORT:PORT, with /udp for UDP";

const portOf = (text: string, whole: string): number => {
  const port = Number(text);
  if (!/^[0-9]+$/.test(text) || port < 1 || port > 65_535) {
    throw new UsageError(`--publish ${whole}: "${text}" is no port; ${form}.`);
  }
  return port;
};

/** `[[ADDRESS:]HOSTPORT:]PORT[/tcp|/udp]`; an IPv6 address is written in brackets. */
export const parsePublish = (text: string): PublishedPort => {
  const [where = "", protocol = "tcp", more] = text.split("/");
  if ((protocol !== "tcp" && protocol !== "udp") || more !== undefined) {
    throw new UsageError(`--publish ${text}: ${form}.`);
  }
  const match = /^(?:(?:\[([^\]]+)\]|([^:[\]]+)):)?(?:([^:]*):)?([^:]+)$/.exec(where);
  const [, six, four, middle, last = ""] = match ?? [];
  if (match === null) throw new UsageError(`--publish ${text}: ${form}.`);
  const containerPort = portOf(last, text);
  // Two parts are HOSTPORT:PORT; what looks like an address is one only before a third.
  const hostPort = middle ?? (six === undefined ? four : undefined);
  const hostAddress = middle === undefined ? undefined : (six ?? four);
  if (six !== undefined && middle === undefined) throw new UsageError(`--publish ${text}: ${form}.`);
  return {
    containerPort,
    protocol,
    ...(hostPort === undefined || hostPort === "" ? {} : { hostPort: portOf(hostPort, text) }),
    ...(hostAddress === undefined ? {} : { hostAddress }),
  };
};

const units: Readonly<Record<string, number>> = { "": 1, k: 1e3, m: 1e6, g: 1e9 };

/** Bits per second: `500k`, `100M`, `1G`, or a plain number. */
export const parseBitRate = (text: string, option: string): number => {
  const [, number = "", unit = ""] = /^([0-9]+(?:\.[0-9]+)?)([kmg]?)$/i.exec(text) ?? [];
  const factor = units[unit.toLowerCase()];
  if (number === "" || factor === undefined) {
    throw new UsageError(`--${option} ${text}: write bits per second, such as 500k, 100M or 1G.`);
  }
  return Math.round(Number(number) * factor);
};
