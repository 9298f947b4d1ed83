import { existsSync } from "node:fs";
import { command } from "@bulkhead/images";
import { sharingPath } from "@bulkhead/native-kvm";
import type { JailedProgram } from "@bulkhead/node";
import type { SharedDirectory } from "../shared-directories.ts";
import type { RootFile } from "./engine-root.ts";

/** Serves a directory to a guest; Debian has it beside what QEMU needs anyway, until version 7.2. */
export const fileServer = "/usr/lib/qemu/virtiofsd";
/** Starts one for each directory and becomes the monitor. */
const sharingProgram = "/bulkhead-sharing";

/** Whether machines of this host can see its directories. */
export const hasFileServer = (): boolean => existsSync(fileServer) && existsSync(sharingPath);

/** Paths of what a program is linked with, from ldd(1). */
export const librariesOf = async (path: string, signal: AbortSignal): Promise<string[]> => {
  const text = await command("ldd", [path], { signal });
  return [...text.matchAll(/^\s+(?:\S+ => )?(\/\S+) \(0x/gm)].map(([, found = ""]) => found);
};

/** What serving files takes in an engine's root; nothing where the host has no server. */
export const serverFiles = async (signal: AbortSignal): Promise<RootFile[]> => {
  if (!hasFileServer()) return [];
  const paths = [fileServer, ...(await librariesOf(fileServer, signal))];
  return [...paths.map((path) => ({ from: path, to: path })), { from: sharingPath, to: sharingProgram }];
};

/** Where the monitor meets the server of one directory. */
export const socketOf = ({ tag }: SharedDirectory): string => `/machine/ports/${tag}`;

/** What whoever serves files needs to be each of their owners in turn, and to go into its directory alone. */
const capabilities = [
  "CAP_CHOWN",
  "CAP_DAC_OVERRIDE",
  "CAP_FOWNER",
  "CAP_FSETID",
  "CAP_SETGID",
  "CAP_SETPCAP",
  "CAP_SETUID",
  "CAP_SYS_CHROOT",
] as const;

type Served = Pick<JailedProgram, "args" | "capabilities" | "ownFileState">;

/** The monitor itself, or what becomes it with a file server for each directory beside it. */
export const withServers = (shared: readonly SharedDirectory[], monitor: readonly string[]): Served => {
  if (shared.length === 0) return { args: monitor };
  const pairs = shared.map((directory) => `${socketOf(directory)}=${directory.place}`);
  return { args: [sharingProgram, fileServer, ...pairs, "--", ...monitor], capabilities, ownFileState: true };
};
