import { UsageError } from "./command.ts";

const memoryUnits: Readonly<Record<string, number>> = {
  "": 1,
  k: 1e3,
  K: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
};

/** Bytes of `64Mi`, `64MiB`, `1.5G`, `4096`; `Ki Mi Gi Ti` are powers of 1024, `K M G T` of 1000. */
export const parseBytes = (text: string, option: string): number => {
  const [, number, unit = ""] = /^([0-9]+(?:\.[0-9]+)?)([kKMGT]i?)?B?$/.exec(text) ?? [];
  const factor = memoryUnits[unit];
  if (number === undefined || factor === undefined) {
    throw new UsageError(`--${option} ${text}: write a size such as 64Mi, 1.5Gi or 500M.`);
  }
  return Math.round(Number(number) * factor);
};

/** Thousandths of a CPU of `0.5`, `2` or `500m`. */
export const parseCpu = (text: string, option: string): number => {
  const [, number, milli] = /^([0-9]+(?:\.[0-9]+)?)(m)?$/.exec(text) ?? [];
  if (number === undefined) throw new UsageError(`--${option} ${text}: write CPUs such as 0.5, 2 or 500m.`);
  return Math.round(milli === undefined ? Number(number) * 1000 : Number(number));
};

const durationUnits: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };

/** Milliseconds of `500ms`, `30s`, `5m`, `1h`; a bare number is seconds. */
export const parseDuration = (text: string, option: string): number => {
  const [, number, unit = "s"] = /^([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)?$/.exec(text) ?? [];
  if (number === undefined) throw new UsageError(`--${option} ${text}: write a duration such as 30s, 5m or 500ms.`);
  return Math.round(Number(number) * (durationUnits[unit] ?? 1_000));
};

export const parseCount = (text: string, option: string): number => {
  if (!/^[0-9]{1,9}$/.test(text)) throw new UsageError(`--${option} ${text}: write a whole number.`);
  return Number(text);
};

/** `268435456` as `256Mi`, so that what is shown can be typed again. */
export const formatBytes = (bytes: number): string => {
  for (const [unit, size] of [
    ["Ti", 2 ** 40],
    ["Gi", 2 ** 30],
    ["Mi", 2 ** 20],
    ["Ki", 2 ** 10],
  ] as const) {
    if (bytes >= size) return `${Number((bytes / size).toFixed(1))}${unit}`;
  }
  return String(bytes);
};

/** `1500` thousandths as `1.5`. */
export const formatCpu = (millis: number): string => String(Number((millis / 1000).toFixed(3)));

/** Time since an instant as its one or two largest units: `45s`, `12m`, `3h`, `5d`. */
export const formatAge = (at: string, now: number): string => {
  const seconds = Math.max(0, Math.round((now - Date.parse(at)) / 1000));
  if (seconds < 120) return `${seconds}s`;
  if (seconds < 7_200) return `${Math.floor(seconds / 60)}m`;
  return seconds < 172_800 ? `${Math.floor(seconds / 3_600)}h` : `${Math.floor(seconds / 86_400)}d`;
};
