import { constants } from "node:os";

export interface NativeFailure {
  ok: false;
  step: string;
  op: string;
  errno: number;
  path: string;
}

export type NativeResult<T> = { ok: true; value: T } | NativeFailure;

/** A kernel call that failed in the native core or in the container's init. */
export class NativeError extends Error {
  readonly step: string;
  readonly op: string;
  readonly errno: number;
  /** "ENOENT" and so on; "UNKNOWN" for a number the system has no name for. */
  readonly code: string;
  readonly path: string | undefined;

  constructor(failure: NativeFailure) {
    const code = errorName(failure.errno);
    const about = failure.path === "" ? "" : ` (${failure.path})`;
    super(`${failure.step}: ${failure.op}: ${code}${about}`);
    this.name = "NativeError";
    this.step = failure.step;
    this.op = failure.op;
    this.errno = failure.errno;
    this.code = code;
    this.path = failure.path === "" ? undefined : failure.path;
  }
}

/** The value of a native result; throws NativeError. */
export function unwrap<T>(result: NativeResult<T>): T {
  if (!result.ok) throw new NativeError(result);
  return result.value;
}

// Linux gives two numbers two names; the usual ones win. (util.getSystemErrorName knows libuv's errors only.)
const aliases = new Set(["EWOULDBLOCK", "ENOTSUP"]);
const names = new Map(
  Object.entries(constants.errno)
    .filter(([name]) => !aliases.has(name))
    .map(([name, number]) => [number, name]),
);

function errorName(errno: number): string {
  return names.get(errno) ?? "UNKNOWN";
}
