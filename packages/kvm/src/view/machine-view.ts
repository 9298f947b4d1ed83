import { readdir, readFile, readlink } from "node:fs/promises";
import { viewListMax, type MachineFile, type MachineThreads, type MachineView } from "@bulkhead/contracts";
import type { MachineChannels } from "./channels.ts";

const uncountedCalls = "system calls by their names: a kernel counts a process's reads and writes only";

/** A thread or a descriptor that goes away while it is looked at is none. */
const orNull = <T>(reading: Promise<T>): Promise<T | null> => reading.catch(() => null);

const modes = ["r", "w", "rw"] as const;

/** Pipes and sockets have a number each, which tells nobody anything. */
const targetOf = (link: string): string => link.replace(/^(pipe|socket):\[\d+\]$/, "$1");

const readFiles = async (pid: number): Promise<MachineFile[]> => {
  const numbers = (await readdir(`/proc/${pid}/fd`)).slice(0, viewListMax);
  const files = new Map<string, MachineFile>();
  for (const number of numbers) {
    const [link, info] = await Promise.all([
      orNull(readlink(`/proc/${pid}/fd/${number}`)),
      orNull(readFile(`/proc/${pid}/fdinfo/${number}`, "utf8")),
    ]);
    if (link === null || info === null) continue;
    const flags = Number.parseInt(/^flags:\s+(\d+)$/m.exec(info)?.[1] ?? "0", 8);
    const file = { target: targetOf(link), mode: modes[flags & 3] ?? "rw" };
    const key = `${file.mode} ${file.target}`;
    files.set(key, { ...file, count: (files.get(key)?.count ?? 0) + 1 });
  }
  return [...files.values()].toSorted((a, b) => a.target.localeCompare(b.target));
};

const readThreads = async (pid: number, calls: MachineChannels["calls"]): Promise<MachineThreads[]> => {
  if (calls === null) return [];
  const tasks = await readdir(`/proc/${pid}/task`);
  const names = await Promise.all(tasks.map((task) => orNull(readFile(`/proc/${pid}/task/${task}/comm`, "utf8"))));
  const processors = names.filter((name) => name?.startsWith("vcpu ")).length;
  const loaders = names.filter((name) => name === "late blocks\n").length;
  const counts: Readonly<Record<string, number>> = { processor: processors, loader: loaders };
  const countOf = (kind: string): number => counts[kind] ?? names.length - processors - loaders;
  return Object.entries(calls).map(([kind, allowed]) => ({ kind, count: countOf(kind), calls: [...allowed] }));
};

const readSystemCalls = async (pid: number): Promise<MachineView["systemCalls"]> => {
  const text = await readFile(`/proc/${pid}/io`, "utf8");
  const count = (name: string): number => Number(new RegExp(`^${name}: (\\d+)$`, "m").exec(text)?.[1] ?? 0);
  return { reads: count("syscr"), writes: count("syscw") };
};

/** Every channel of a machine: what its engine tells, and what the host's kernel tells of its monitor. */
export const machineView = async (engine: string, pid: number, told: MachineChannels): Promise<MachineView> => {
  const [files, threads, systemCalls] = await Promise.all([
    readFiles(pid),
    readThreads(pid, told.calls),
    readSystemCalls(pid),
  ]);
  return {
    engine,
    channels: [...told.channels],
    exits: told.exits,
    threads,
    files,
    systemCalls,
    uncounted: [...told.uncounted, uncountedCalls],
  };
};
