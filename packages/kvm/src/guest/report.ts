/** What became of a guest's program: the report disk of native/guest/src/report.h. */
export type GuestReport =
  | { readonly state: "running" }
  | {
      readonly state: "ended";
      readonly exitCode: number | null;
      readonly signal: number | null;
      readonly oomKills: number;
    }
  | { readonly state: "failed"; readonly step: string; readonly path: string; readonly errno: number };

const magic = "BHVMREP1";
const sectorBytes = 512;

const text = (sector: Buffer, from: number, to: number): string => {
  const field = sector.subarray(from, to);
  const end = field.indexOf(0);
  // It comes from a guest and goes to terminals and logs.
  return field.toString("latin1", 0, end < 0 ? field.length : end).replaceAll(/[^\x20-\x7e]/g, "?");
};

const inRange = (value: number, minimum: number, maximum: number): number | null =>
  value >= minimum && value <= maximum ? value : null;

/**
 * Reads a report sector; null when nothing was reported, or nothing that a guest of ours writes: everything in it is the
 * guest's to choose.
 */
export const parseReport = (sector: Buffer): GuestReport | null => {
  if (sector.length < sectorBytes || sector.toString("latin1", 0, 8) !== magic) return null;
  const state = sector.readUInt32LE(8);
  if (state === 1) return { state: "running" };
  if (state === 2) {
    const exitCode = inRange(sector.readInt32LE(12), 0, 255);
    const signal = inRange(sector.readInt32LE(16), 1, 64);
    if ((exitCode === null) === (signal === null)) return null;
    return { state: "ended", exitCode, signal, oomKills: sector.readUInt32LE(20) };
  }
  if (state !== 3) return null;
  const errno = inRange(sector.readInt32LE(24), 0, 4095) ?? 0;
  return { state: "failed", step: text(sector, 32, 64), path: text(sector, 64, 320), errno };
};
