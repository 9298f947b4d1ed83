import { constants } from "node:os";

const numbers: Readonly<Record<string, number>> = constants.signals;

/** SIGRTMIN of glibc: the two signals below it belong to its thread library (signal(7)). */
const realtimeMinimum = 34;

/** Number of `SIGTERM`, `TERM`, `15`, `SIGRTMIN+3` as image configurations write it, or null when it is none. */
export const signalNumber = (text: string): number | null => {
  if (/^[0-9]+$/.test(text)) {
    const number = Number(text);
    return number >= 1 && number <= 64 ? number : null;
  }
  const name = text.toUpperCase().startsWith("SIG") ? text.toUpperCase() : `SIG${text.toUpperCase()}`;
  const realtime = /^SIGRTMIN(?:\+(\d{1,2}))?$/.exec(name);
  if (realtime !== null) {
    const number = realtimeMinimum + Number(realtime[1] ?? 0);
    return number <= 64 ? number : null;
  }
  return numbers[name] ?? null;
};

/** `SIGKILL` of 9; a number without a name stays a number. */
export const signalName = (signal: number): string =>
  Object.entries(numbers).find(([, number]) => number === signal)?.[0] ?? `signal ${signal}`;
