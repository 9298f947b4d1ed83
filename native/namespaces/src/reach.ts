// bulkhead-reach: its request goes in a sealed memory file, its answer comes on a pipe.
import { Socket } from "node:net";
import { fileURLToPath } from "node:url";
import { addon } from "./addon.ts";
import { NativeError, unwrap } from "./error.ts";
import type { ProcessRef } from "./records.ts";
import { reapWhenEnded } from "./shim.ts";

/** A directory below one that only the host's own code writes to, such as `{ beneath: "/…/shares", source: "ID/data" }`. */
export interface SourceDirectory {
  beneath: string;
  /** relative to `beneath`, without links in it */
  source: string;
}

export interface AttachInput extends SourceDirectory {
  target: ProcessRef;
  /** relative to the container's root, without leading slash; made when it is missing */
  destination: string;
  readOnly: boolean;
  noExec: boolean;
  /** seen with the container's ids */
  idMapped: boolean;
}

export interface DeviceNode {
  path: string;
  kind: "character" | "block";
  major: number;
  minor: number;
  /** permission bits */
  mode: number;
  /** host ids */
  uid: number;
  gid: number;
}

export interface Inspection {
  devices: DeviceNode[];
  devicesTruncated: boolean;
  devicesError: NativeError | null;
  /** seccomp programs of the first thread, newest first: 8-byte `struct sock_filter`s; empty unless asked for */
  filters: Uint8Array[];
  filtersError: NativeError | null;
  /** x86-64 system calls by name */
  syscalls: Readonly<Record<string, number>>;
}

interface Failure {
  step: string;
  op: string;
  errno: number;
  path: string;
}

const reachPath = fileURLToPath(new URL("../build/bulkhead-reach", import.meta.url));
/** A container's device nodes and filters are bounded in the program; this bounds what is read whatever happens. */
const answerMaxBytes = 16 * 1024 * 1024;
const EMSGSIZE = 90;

const errorOf = (failure: Failure | undefined): NativeError | null =>
  failure === undefined ? null : new NativeError({ ok: false, ...failure });

async function readAll(fd: number): Promise<string> {
  const socket = new Socket({ fd, readable: true, writable: false });
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > answerMaxBytes)
      throw new NativeError({ ok: false, step: "reach", op: "read", errno: EMSGSIZE, path: "" });
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

/** Runs one verb to its end. Rejects with NativeError. */
async function reach<Reply>(verb: string, fields: readonly (string | number | boolean)[]): Promise<Reply> {
  const text = fields.map((field) => `${typeof field === "boolean" ? Number(field) : field}\0`).join("");
  const [read, write] = unwrap(addon.makePair("pipe"));
  try {
    unwrap(addon.setNonblocking(read));
    reapWhenEnded(unwrap(addon.reach(reachPath, verb, Buffer.from(text), write)));
  } catch (error) {
    addon.closeFd(read);
    throw error;
  } finally {
    addon.closeFd(write);
  }
  const answer = JSON.parse(await readAll(read)) as Reply & { error?: Failure };
  const error = errorOf(answer.error);
  if (error !== null) throw error;
  return answer;
}

/**
 * Device nodes of a running container and, with `stop`, its seccomp filters: for them its first thread is stopped for
 * some microseconds, which a system call such as epoll_wait answers with EINTR. Rejects with NativeError.
 */
export async function inspect(target: ProcessRef, options: { stop: boolean }): Promise<Inspection> {
  const answer = await reach<
    Omit<Inspection, "filters" | "devicesError" | "filtersError"> & {
      filters: string[];
      devicesError?: Failure;
      filtersError?: Failure;
    }
  >("inspect", [target.pid, target.startTicks, options.stop]);
  return {
    ...answer,
    devicesError: errorOf(answer.devicesError),
    filters: answer.filters.map((hex) => Buffer.from(hex, "hex")),
    filtersError: errorOf(answer.filtersError),
  };
}

/** Shows a directory in a running container. `already`: it was there. Rejects with NativeError and nothing mounted. */
export async function attach(input: AttachInput): Promise<{ already: boolean }> {
  const { target, beneath, source, destination, readOnly, noExec, idMapped } = input;
  const fields = [target.pid, target.startTicks, beneath, source, destination, readOnly, noExec, idMapped];
  const { already } = await reach<{ already: boolean }>("attach", fields);
  return { already };
}

/**
 * Takes every mount of a directory, or of what lies below it, out of the mount namespace of a process. `busy`: files of
 * it are still open, and stay usable to whoever has them open. Rejects with NativeError.
 */
export async function detach(
  input: SourceDirectory & { target: ProcessRef },
): Promise<{ removed: number; busy: boolean }> {
  const { target, beneath, source } = input;
  const { removed, busy } = await reach<{ removed: number; busy: boolean }>("detach", [
    target.pid,
    target.startTicks,
    beneath,
    source,
  ]);
  return { removed, busy };
}
