// The files of an instance's run directory, written by its shim.
import { readFileSync } from "node:fs";
import { join } from "node:path";

export interface ProcessRef {
  pid: number;
  /** Field 22 of /proc/PID/stat: together with the pid it names one process and never another. */
  startTicks: number;
}

export interface StatusRecord {
  shim: ProcessRef;
  init: ProcessRef;
  startedAtUnixMs: number;
}

export interface ExitRecord {
  exitCode: number | null;
  signal: number | null;
  oomKilled: boolean;
  leaseExpired: boolean;
  startedAtUnixMs: number;
  finishedAtUnixMs: number;
}

/** Who runs the instance; null when it never started (or its start was undone). Throws on a corrupt file. */
export function readStatus(runDir: string): StatusRecord | null {
  const path = join(runDir, "status");
  const value = readJson(path);
  if (value === null) return null;
  return {
    shim: processRef(value["shim"], path),
    init: processRef(value["init"], path),
    startedAtUnixMs: natural(value["startedAtUnixMs"], path),
  };
}

/** How the instance ended; null while it runs. Throws on a corrupt file. */
export function readExit(runDir: string): ExitRecord | null {
  const path = join(runDir, "exit");
  const value = readJson(path);
  if (value === null) return null;
  return {
    exitCode: value["exitCode"] === null ? null : natural(value["exitCode"], path),
    signal: value["signal"] === null ? null : natural(value["signal"], path),
    oomKilled: value["oomKilled"] === true,
    leaseExpired: value["leaseExpired"] === true,
    startedAtUnixMs: natural(value["startedAtUnixMs"], path),
    finishedAtUnixMs: natural(value["finishedAtUnixMs"], path),
  };
}

function readJson(path: string): Record<string, unknown> | null {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return null;
    throw error;
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new Error(`corrupt record ${path}`, { cause });
  }
  if (!isObject(value)) throw new Error(`corrupt record ${path}`);
  return value;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function natural(value: unknown, path: string): number {
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0) throw new Error(`corrupt record ${path}`);
  return value;
}

function processRef(value: unknown, path: string): ProcessRef {
  if (!isObject(value)) throw new Error(`corrupt record ${path}`);
  return { pid: natural(value["pid"], path), startTicks: natural(value["startTicks"], path) };
}
