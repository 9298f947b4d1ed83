import { spawn } from "node:child_process";
import { constants } from "node:fs";
import { open } from "node:fs/promises";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { fileURLToPath } from "node:url";
import { fleetError } from "@bulkhead/contracts";
import { Type } from "typebox";
import { Value } from "typebox/value";
import type { ByteSource } from "../blobs/staging.ts";

/** Where the native build leaves the tool in a checkout. */
export const unpackerPath = fileURLToPath(
  new URL("../../../../native/namespaces/build/bulkhead-unpack", import.meta.url),
);

const maxReportBytes = 64 * 1024;

const Report = Type.Object({
  /** made, implied directories included */
  entries: Type.Integer(),
  /** of file data; holes are not data */
  bytes: Type.Integer(),
  skippedDevices: Type.Integer(),
  skippedXattrs: Type.Integer(),
  /** the layer hides everything below it */
  opaqueRoot: Type.Boolean(),
});
const Refusal = Type.Object({
  error: Type.String(),
  path: Type.String(),
  detail: Type.String(),
  errno: Type.Integer(),
});

export interface UnpackReport {
  readonly entries: number;
  readonly bytes: number;
  readonly skippedDevices: number;
  readonly skippedXattrs: number;
  readonly opaqueRoot: boolean;
}

export interface UnpackOptions {
  readonly maxBytes: number;
  readonly maxEntries: number;
  /** writes everything to disk before it answers */
  readonly sync: boolean;
  /** names the layer in errors */
  readonly what: string;
  readonly signal: AbortSignal;
}

interface Ended {
  readonly output: string;
  readonly code: number | null;
  readonly killedBy: NodeJS.Signals | null;
}

const run = async (
  program: string,
  directory: string,
  options: { arguments: readonly string[]; input: ByteSource | undefined; signal: AbortSignal },
): Promise<Ended> => {
  options.signal.throwIfAborted();
  await using root = await open(directory, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
  const child = spawn(program, ["--root-fd", "3", ...options.arguments], {
    stdio: ["pipe", "pipe", "ignore", root.fd],
    env: {},
  });
  const ended = Promise.withResolvers<{ code: number | null; killedBy: NodeJS.Signals | null }>();
  // A tool that is not there fails before anyone waits for it.
  ended.promise.catch(() => undefined);
  child.once("error", ended.reject);
  child.once("close", (code, killedBy) => ended.resolve({ code, killedBy }));
  let output = "";
  const [stdin, stdout] = [child.stdin, child.stdout];
  if (stdin === null || stdout === null) throw fleetError("RUNTIME_FAILED", `${program} has no pipes`);
  stdout.setEncoding("utf8").on("data", (text: string) => {
    if (output.length < maxReportBytes) output += text;
  });
  const stop = () => child.kill("SIGKILL");
  options.signal.addEventListener("abort", stop, { once: true });
  let sourceFailure: unknown;
  try {
    const input = options.input === undefined ? Readable.from([]) : Readable.from(options.input, { objectMode: false });
    await pipeline(input, stdin).catch((cause: unknown) => {
      // A tool that refuses a layer closes its input first; its report says why.
      const closed =
        cause instanceof Error &&
        "code" in cause &&
        /^(EPIPE|ECONNRESET|ERR_STREAM_PREMATURE_CLOSE)$/.test(String(cause.code));
      if (closed) return;
      sourceFailure = cause;
      stop();
    });
    const how = await ended.promise.catch((cause: unknown) => {
      throw fleetError("SETUP_FAILED", `${program} cannot be started; run the native build (npm run setup)`, { cause });
    });
    if (sourceFailure !== undefined) throw sourceFailure;
    options.signal.throwIfAborted();
    return { output, ...how };
  } finally {
    options.signal.removeEventListener("abort", stop);
  }
};

const parse = (output: string): unknown => {
  try {
    return JSON.parse(output);
  } catch {
    return undefined;
  }
};

const conclude = (ended: Ended, what: string): UnpackReport => {
  const said = parse(ended.output);
  if (ended.code === 0 && Value.Check(Report, said)) return said;
  if (!Value.Check(Refusal, said)) {
    const how = ended.killedBy === null ? `exit code ${ended.code}` : `signal ${ended.killedBy}`;
    throw fleetError("RUNTIME_FAILED", `${what}: the unpacker ended with ${how} and no report`);
  }
  const where = said.path === "" ? "" : ` at "${said.path}"`;
  const detail = `${what}${where}: ${said.detail}`;
  if (said.error === "tooLarge" || said.error === "tooMany") throw fleetError("IMAGE_TOO_LARGE", detail);
  throw fleetError(ended.code === 1 ? "IMAGE_INVALID" : "RUNTIME_FAILED", detail);
};

/** Runs bulkhead-unpack, which works in a jail whose root is the directory. */
export class Unpacker {
  readonly #program: string;

  constructor(program: string = unpackerPath) {
    this.#program = program;
  }

  /**
   * Applies an uncompressed tar to a directory. Rejects IMAGE_INVALID and IMAGE_TOO_LARGE for what the layer is to
   * blame for, RUNTIME_FAILED for what the host is, and passes on what the source throws.
   */
  async apply(tar: ByteSource, directory: string, options: UnpackOptions): Promise<UnpackReport> {
    const limits = ["--max-bytes", String(options.maxBytes), "--max-entries", String(options.maxEntries)];
    const ended = await run(this.#program, directory, {
      arguments: options.sync ? [...limits, "--sync"] : limits,
      input: tar,
      signal: options.signal,
    });
    return conclude(ended, options.what);
  }

  /** Removes everything in a directory. A layer may be nested deeper than any path can say, so rm(1) would not do. */
  async empty(directory: string): Promise<void> {
    const ended = await run(this.#program, directory, {
      arguments: ["--remove"],
      input: undefined,
      signal: new AbortController().signal,
    });
    conclude(ended, directory);
  }
}
