import {
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readSync,
  writeSync,
} from "node:fs";
import { dirname } from "node:path";

/** Size of the page that shims map, in bytes. */
const pageBytes = 4096;
/** "BULKLEAS" as a big-endian number, stored little-endian; a shim that finds anything else trusts nothing in the page. */
const magic = 0x4255_4c4b_4c45_4153n;

export interface LeaseState {
  /** CLOCK_BOOTTIME of the renewal, in nanoseconds; 0 when there was none since boot */
  readonly renewedAtNs: bigint;
  /** term of the leader that granted it */
  readonly term: bigint;
}

/** Where shims and monitors read how long they may let their children live. */
export interface LeasePage {
  read(): LeaseState;
  write(state: LeaseState): void;
  close(): void;
}

/**
 * The page as a file on tmpfs: u64 little-endian magic at 0, renewal at 8, term at 16. One page per agent: each agent's
 * contact counts for its own instances only. Written in place and never replaced, because shims have it mapped.
 */
export const openLeasePage = (path: string): LeasePage => {
  mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
  const descriptor = openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o644);
  // Whatever the umask: a monitor that gave up root maps it read-only.
  fchmodSync(descriptor, 0o644);
  const head = Buffer.alloc(24);
  const fresh = fstatSync(descriptor).size !== pageBytes || readSync(descriptor, head, 0, 24, 0) !== 24;
  if (fresh || head.readBigUInt64LE(0) !== magic) {
    ftruncateSync(descriptor, pageBytes);
    head.fill(0);
    head.writeBigUInt64LE(magic, 0);
    writeSync(descriptor, head, 0, 24, 0);
  }
  return {
    read: () => ({ renewedAtNs: head.readBigUInt64LE(8), term: head.readBigUInt64LE(16) }),
    write: ({ renewedAtNs, term }) => {
      head.writeBigUInt64LE(renewedAtNs, 8);
      head.writeBigUInt64LE(term, 16);
      writeSync(descriptor, head, 8, 16, 8);
    },
    close: () => closeSync(descriptor),
  };
};
